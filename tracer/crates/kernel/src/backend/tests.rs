//! The choice and its cost.

use tracer_common::settings::Offsets;

use super::*;
use crate::hooks::blind;

fn choice(hook: Hook, backend: Option<Backend>) -> Choice {
    Choice { hook, backend, refused: Vec::new(), rests: false }
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
    let offsets = Offsets { io_complete_has_cqe: 1, kfree_skb_args: 4, ..Offsets::NONE };
    let choices = all(Some(Backend::Fentry), Some(Backend::Fentry));
    assert_eq!(degradations(&choices, true, &offsets, &[]), []);
    assert!(!needs_io_uring(&choices));
}

#[test]
fn a_hook_that_could_not_be_attached_later_is_a_loss() {
    let mut choices = all(Some(Backend::Syscall), Some(Backend::Syscall));
    let compat = Hook::Compat as usize;
    assert_eq!(choices[compat].hook, Hook::Compat);
    choices[compat].rests = true;
    let before = degradations(&choices, true, &Offsets::NONE, &[]);
    assert_eq!(degradations_since(&before, &choices), []);
    choices[compat].rests = false;
    assert_eq!(degradations_since(&before, &choices), [], "it is attached");
    choices[compat].backend = None;
    let late = degradations_since(&before, &choices);
    assert_eq!(late.iter().map(Degradation::name).collect::<Vec<_>>(), ["no_compat"]);
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
    let names: Vec<String> =
        degradations(&choices, false, &Offsets::NONE, &missing).iter().map(Degradation::name).collect();
    assert_eq!(
        names,
        [
            "no_btf",
            "no_processes",
            "no_destroy",
            "no_error_report",
            "no_accept",
            "connect_by_syscall",
            "no_io_uring",
            "no_drop_reasons",
            "missing:tcp_sock.srtt_us",
        ]
    );
}

#[test]
fn a_loss_is_said_once() {
    let mut choices = all(None, None);
    for choice in &mut choices {
        choice.backend = None;
    }
    let list = degradations(&choices, true, &Offsets::NONE, &[]);
    for name in ["no_resets", "no_resets_for_nobody"] {
        assert!(list.iter().any(|loss| loss.name() == name), "{name}");
    }
    for loss in &list {
        assert_eq!(list.iter().filter(|other| *other == loss).count(), 1, "{loss:?}");
    }
}

#[test]
fn a_link_that_would_see_nothing_is_refused() {
    let sees = |offsets: &Offsets| -> Vec<(Hook, Backend)> {
        Hook::ALL
            .into_iter()
            .flat_map(|hook| chain(hook).iter().map(move |link| (hook, link.backend)))
            .filter(|(hook, backend)| blind(*hook, *backend, offsets).is_none())
            .collect()
    };
    // No offset is known: the address that the hook passes suffices for these.
    let by_address = [
        (Hook::Destroy, Backend::TpBtf),
        (Hook::Destroy, Backend::RawTp),
        (Hook::Accept, Backend::Fentry),
        (Hook::Accept, Backend::Kprobe),
        (Hook::Sockmap, Backend::Fentry),
        (Hook::Sockmap, Backend::Kprobe),
    ];
    assert_eq!(sees(&Offsets::NONE), by_address);
    let format = Offsets {
        state_format_skaddr: 8,
        state_format_oldstate: 16,
        state_format_newstate: 20,
        state_format_sport: 24,
        state_format_dport: 26,
        state_format_family: 28,
        state_format_protocol: 30,
        state_format_saddr: 32,
        state_format_daddr: 36,
        ..Offsets::NONE
    };
    assert!(sees(&format).contains(&(Hook::SetState, Backend::Tracepoint)));
    assert!(!sees(&format).contains(&(Hook::SetState, Backend::RawTp)));
    let why = blind(Hook::Accept, Backend::Syscall, &Offsets::NONE);
    assert_eq!(why.as_deref(), Some("it needs the offset of task_struct.files, which is not known here"));
}

#[test]
fn hooks_and_links_are_found_by_the_names_that_are_shown() {
    for hook in Hook::ALL {
        assert_eq!(Hook::from_name(hook.name()), Some(hook));
        for link in chain(hook) {
            assert_eq!(hook.link_from_name(link.backend.name()), Some(link.backend));
        }
    }
    assert_eq!(Hook::from_name("tcp"), None);
    assert_eq!(Hook::Connect.link_from_name("tp_btf"), None);
}
