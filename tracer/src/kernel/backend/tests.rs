//! The choice, and what it costs.

use tracer_common::settings::Offsets;

use super::*;

fn choice(hook: Hook, backend: Option<Backend>) -> Choice {
    Choice { hook, backend, refused: Vec::new() }
}

fn all(connect: Option<Backend>, accept: Option<Backend>) -> Vec<Choice> {
    Hook::ALL
        .iter()
        .map(|hook| match hook {
            Hook::Connect => choice(*hook, connect),
            Hook::Accept => choice(*hook, accept),
            _ => choice(*hook, Some(chain(*hook)[0].backend)),
        })
        .collect()
}

#[test]
fn the_first_link_that_attaches_is_taken_and_the_better_ones_say_why_not() {
    let choice = choose(Hook::Connect, None, |link| match link.backend {
        Backend::Fentry => Err("EPERM".to_owned()),
        Backend::Kprobe => Err("ENOENT".to_owned()),
        _ => Ok(()),
    });
    assert_eq!(choice.backend, Some(Backend::Syscall));
    let refused = [(Backend::Fentry, "EPERM".to_owned()), (Backend::Kprobe, "ENOENT".to_owned())];
    assert_eq!(choice.refused, refused);
}

#[test]
fn a_better_link_is_never_passed_over() {
    for hook in Hook::ALL {
        for good in 0..chain(hook).len() {
            let mut index = 0;
            let choice = choose(hook, None, |_| {
                index += 1;
                if index > good { Ok(()) } else { Err("no".to_owned()) }
            });
            assert_eq!(choice.backend, Some(chain(hook)[good].backend));
        }
    }
}

#[test]
fn a_forced_backend_is_the_only_one_tried() {
    let choice = choose(Hook::Accept, Some(Backend::Kprobe), |link| {
        assert_eq!(link.backend, Backend::Kprobe);
        Err("no".to_owned())
    });
    assert_eq!(choice.backend, None);
}

#[test]
fn the_best_links_leave_nothing_to_say() {
    let offsets = Offsets { io_complete_has_cqe: 1, ..Offsets::NONE };
    let choices = all(Some(Backend::Fentry), Some(Backend::Fentry));
    assert_eq!(degradations(&choices, true, &offsets, &[]), []);
    assert!(!needs_io_uring(&choices));
}

#[test]
fn every_loss_has_a_name() {
    let mut choices = all(Some(Backend::Syscall), None);
    for choice in &mut choices {
        if matches!(choice.hook, Hook::IoUring | Hook::Processes | Hook::Destroy | Hook::ErrorReport) {
            choice.backend = None;
        }
    }
    let missing = ["tcp_sock.srtt_us".to_owned(), "tcp_sock.is_mptcp".to_owned()];
    assert_eq!(
        degradations(&choices, false, &Offsets::NONE, &missing),
        [
            Degradation::NoBtf,
            Degradation::NoProcesses,
            Degradation::NoDestroy,
            Degradation::NoErrorReport,
            Degradation::NoAccept,
            Degradation::ConnectBySyscall,
            Degradation::NoIoUring,
            Degradation::MissingMember("tcp_sock.srtt_us".to_owned()),
        ]
    );
}
