//! Each test uses a thread of its own, which alone gives up its privileges.

use std::{
    fs::{self, File},
    io,
    net::UdpSocket,
    process::Command,
    thread,
};

use super::*;

/// Runs `work` in a thread that has `duty`, without capabilities.
fn confined<T: Send + 'static>(duty: Duty, work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = thread::spawn(move || {
        Sandbox::On.confine(duty, CapabilitySet::empty());
        work()
    });
    thread.join().unwrap()
}

fn refused<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.raw_os_error() == Some(libc::ENOSYS))
}

const DUTIES: [Duty; 5] =
    [Duty::Agent { command: None }, Duty::Beginning, Duty::Namespaces, Duty::Tables, Duty::Output];

#[test]
fn what_no_duty_needs_is_refused_and_kills_nobody() {
    assert!(has_seccomp());
    for duty in DUTIES {
        confined(duty, move || {
            let path = std::env::temp_dir().join(format!("tracer-sandbox-{}", std::process::id()));
            assert!(refused(File::create(&path)), "{duty:?}");
            assert!(!path.exists() || duty == Duty::Output);
            assert!(refused(File::options().append(true).open("/dev/null")), "{duty:?}");
            assert!(refused(fs::remove_file(&path)) && refused(fs::create_dir(&path)), "{duty:?}");
            assert!(refused(fs::rename(&path, "/x")) && refused(std::os::unix::fs::symlink("/x", &path)), "{duty:?}");
            assert!(refused(UdpSocket::bind("127.0.0.1:0")), "{duty:?}");
            assert!(Command::new("/bin/true").status().is_err(), "{duty:?}");
            for call in [
                libc::SYS_execve,
                libc::SYS_execveat,
                libc::SYS_ptrace,
                libc::SYS_process_vm_readv,
                libc::SYS_process_vm_writev,
                libc::SYS_init_module,
                libc::SYS_finit_module,
                libc::SYS_mount,
                libc::SYS_unshare,
                libc::SYS_perf_event_open,
                libc::SYS_io_uring_setup,
                libc::SYS_capset,
                // No kernel has it.
                100_000,
            ] {
                // SAFETY: the filter refuses before the kernel reads any argument; and null pointers lead nowhere.
                assert_eq!(unsafe { libc::syscall(call, 0, 0, 0, 0, 0, 0) }, -1, "{duty:?}: {call}");
                assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::ENOSYS), "{duty:?}: {call}");
            }
        });
    }
}

#[test]
fn what_a_duty_needs_it_has() {
    for duty in [Duty::Agent { command: None }, Duty::Namespaces] {
        confined(duty, || {
            assert!(!fs::read_to_string("/proc/self/status").unwrap().is_empty());
            assert!(fs::read_dir("/proc/self/fd").unwrap().count() > 0);
            assert!(fs::read_link("/proc/self/exe").unwrap().is_absolute());
            // Threads and memory work, and threads inherit the filter.
            let inner = thread::spawn(|| (vec![1_u8; 64 << 20].len(), refused(File::create("/dev/null")))).join();
            assert_eq!(inner.unwrap(), (64 << 20, true));
            assert!(thread::available_parallelism().unwrap().get() > 0);
        });
    }
    let netlink = || rustix::net::socket(rustix::net::AddressFamily::NETLINK, rustix::net::SocketType::RAW, None);
    confined(Duty::Namespaces, move || drop(netlink().unwrap()));
    assert!(confined(Duty::Agent { command: None }, move || refused(netlink().map_err(io::Error::from))));
}

#[test]
fn programs_cannot_be_loaded_and_maps_can_be_read() {
    let only = |commands: [(i32, bool); 9]| {
        for (command, allowed) in commands {
            // SAFETY: no attributes are given.
            assert_eq!(unsafe { libc::syscall(libc::SYS_bpf, command, 0, 0) }, -1);
            let refused = io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS);
            assert_eq!(refused, !allowed, "bpf command {command}");
        }
    };
    // Creating a map, loading, attaching and linking a program; reading a map; attaching a loaded program; a query and an open by number; a name.
    let commands = |maps, programs| {
        [
            (0, false),
            (5, false),
            (8, false),
            (28, false),
            (1, maps),
            (17, maps),
            (16, programs),
            (13, programs),
            (15, true),
        ]
    };
    confined(Duty::Agent { command: None }, move || only(commands(true, false)));
    confined(Duty::Tables, move || only(commands(false, true)));
}

#[test]
fn signals_go_to_the_command_only() {
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = child.id();
    confined(Duty::Agent { command: Some(pid) }, move || {
        let own = i32::try_from(std::process::id()).unwrap();
        // SAFETY: no pointers; signal 0 does nothing.
        assert!(unsafe { libc::kill(own, 0) } == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS));
        // SAFETY: our own child, reaped below.
        assert_eq!(unsafe { libc::kill(i32::try_from(pid).unwrap(), libc::SIGTERM) }, 0);
    });
    assert!(!child.wait().unwrap().success());
}

#[test]
fn memory_is_not_executed() {
    confined(Duty::Output, || {
        let code = libc::PROT_READ | libc::PROT_EXEC;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping that is not used.
        let mapped = unsafe { libc::mmap(std::ptr::null_mut(), 4096, code, flags, -1, 0) };
        assert_eq!(mapped, libc::MAP_FAILED);
    });
}

#[test]
fn capabilities_are_given_up_for_good() {
    let status = confined(Duty::Agent { command: None }, || fs::read_to_string("/proc/thread-self/status").unwrap());
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(u64::from_str_radix(&field(set), 16).unwrap(), 0, "{set}");
    }
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1".to_owned(), "2".to_owned()));
    // Other threads keep their privileges.
    let own = fs::read_to_string("/proc/thread-self/status").unwrap();
    assert!(own.contains("NoNewPrivs:\t0") || std::env::var_os("CI").is_some());
}

#[test]
fn no_more_is_kept_than_what_works() {
    let own = capabilities::effective();
    let kept = thread::spawn(move || {
        let needed = CapabilitySet::BPF;
        let works = || !own.contains(needed) || capabilities::effective().contains(needed);
        capabilities::least(capabilities::LOOK, &[needed, CapabilitySet::SYS_ADMIN], works)
    });
    let kept = kept.join().unwrap();
    assert!(kept.contains(capabilities::LOOK) && !kept.contains(CapabilitySet::SYS_ADMIN));
    assert_eq!(kept.contains(CapabilitySet::BPF), own.contains(CapabilitySet::BPF));
    assert_eq!(capabilities::names(CapabilitySet::BPF | CapabilitySet::SYS_PTRACE), "CAP_SYS_PTRACE, CAP_BPF");
}
