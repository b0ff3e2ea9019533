#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;
use crate::net::sockets::Owner;
use crate::proc::tree::Tree;
use tracer_stream::TcpState;

const NETNS: u32 = 4_026_531_840;

/// Makes a /proc of kernel `kernel` with one process, which holds the socket in `tcp`.
fn proc_of(kernel: &str) -> Tree {
    let tree = Tree::new();
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/proc/net/fixtures").join(kernel);
    for entry in std::fs::read_dir(&dir).unwrap().chain(std::fs::read_dir(dir.join("stat")).unwrap()) {
        let path = entry.unwrap().path();
        if path.is_file() {
            let name = path.strip_prefix(&dir).unwrap().to_str().unwrap().to_owned();
            tree.file(&format!("net/{name}"), std::fs::read(&path).unwrap());
        }
    }
    for (name, text) in [
        ("ip_local_port_range", "32768\t60999\n"),
        ("ip_local_reserved_ports", "40000-40009,50000,70000,x,80\n"),
        ("tcp_mem", "10\t20\t30\n"),
        ("udp_mem", "1 2\n"),
        ("tcp_max_orphans", "4096\n"),
    ] {
        tree.file(&format!("sys/net/ipv4/{name}"), text);
    }
    tree.link("self/ns/net", format!("net:[{NETNS}]"));
    tree
}

fn take(tree: &Tree) -> Picture {
    let netns = Netns { inode: NETNS, name: None, pid: None, path: None };
    let mut taken = pictures(&ProcRoot::new(tree.path()), &[netns], false);
    assert_eq!((taken.pictures.len(), taken.unreadable.len()), (1, 0));
    taken.pictures.remove(0)
}

#[test]
fn a_proc_of_every_kernel() {
    for kernel in ["linux-5.10", "linux-6.1", "linux-6.12", "linux-6.18"] {
        let tree = proc_of(kernel);
        let picture = take(&tree);
        assert_eq!(picture.malformed, Malformed::default(), "{kernel}");
        assert!(picture.current && picture.counter("TcpInSegs").is_some(), "{kernel}");
        assert!(picture.counter("TcpExtListenOverflows").is_some() && picture.counter("Ip6InReceives").is_some());
        let wire = picture.interfaces.iter().find(|interface| interface.name == "wire").unwrap();
        assert!(wire.addresses.contains(&("fd07::1".parse().unwrap(), 64)), "{kernel}: from if_inet6");
        assert!(wire.addresses.contains(&("10.7.0.1".parse().unwrap(), 24)), "{kernel}: from fib_trie and route");
        let lo = picture.interfaces.iter().find(|interface| interface.name == "lo").unwrap();
        assert_eq!(lo.addresses.first(), Some(&("127.0.0.1".parse().unwrap(), 8)), "{kernel}");
        assert_eq!(picture.limits.ports(), Some(28232 - 11), "{kernel}");
        assert_eq!((picture.limits.tcp_mem, picture.limits.udp_mem), (Some([10, 20, 30]), None), "{kernel}");
        assert!(picture.listeners.is_none() && picture.gaps.iter().any(|gap| gap.contains("listen queues")));
        assert!(picture.conntrack.is_some() && !picture.softnet.is_empty(), "{kernel}");
        assert!(picture.absent.contains(&"wireless"), "{kernel}");
        let findings = crate::net::health::assess(&picture, None);
        assert!(findings.iter().all(|finding| finding.section != "missing"), "{kernel}");
    }
}

#[test]
fn owners_are_processes_nobody_or_unknown() {
    let tree = proc_of("linux-6.12");
    let row = |sl: u32, lport: u16, rport: u16, state: u8, rx: u32, inode: u64| {
        format!(
            "{sl:4}: 0100007F:{lport:04X} 0100007F:{rport:04X} {state:02X} 00000000:{rx:08X} 00:00000000 00000000     0        0 \
             {inode} 1 0000000000000000 100 0 0 10 0\n"
        )
    };
    let table = "  sl  local_address rem_address\n".to_owned()
        + &row(0, 80, 0, 10, 3, 11)
        + &row(1, 80, 40_000, 1, 0, 12)
        + &row(2, 50_000, 80, 1, 0, 13)
        + &row(3, 50_001, 80, 8, 0, 13)
        + &row(4, 50_002, 80, 6, 0, 0)
        + &row(5, 33_333, 0, 10, 0, 14)
        + &row(6, 33_333, 9, 1, 0, 15)
        + "a row that is none\n";
    tree.file("net/tcp", table);
    tree.file("net/tcp6", "");
    tree.process(7, "ser\u{1b}ver", 100);
    for (fd, inode) in [(3, 11), (4, 12)] {
        tree.link(&format!("7/fd/{fd}"), format!("socket:[{inode}]"));
    }
    tree.process(8, "client", 100);
    tree.link("8/fd/3", "socket:[13]");
    let picture = take(&tree);
    let sockets = &picture.sockets;
    let owners: Vec<_> = sockets.owners.iter().map(|owned| (owned.owner.clone(), owned.total())).collect();
    let process = |pid, comm: &str| Owner::Process { pid, comm: comm.to_owned() };
    assert_eq!(
        owners,
        [(process(7, "ser\u{1b}ver"), 2), (process(8, "client"), 2), (Owner::Unknown, 2), (Owner::Kernel, 1)]
    );
    assert_eq!(sockets.owners[1].in_state(TcpState::CloseWait), 1);
    assert_eq!(sockets.listeners.get(&11), Some(&process(7, "ser\u{1b}ver")));
    assert_eq!(sockets.listeners.get(&14), None);
    let to: Vec<_> = sockets.destinations.iter().map(|to| (to.rport, to.ports)).collect();
    assert_eq!(to, [(80, 3)], "with TIME_WAIT, without what came to a listener");
    assert_eq!(
        sockets.waiting.iter().map(|waiting| (waiting.2, waiting.3)).collect::<Vec<_>>(),
        [(80, 3), (33_333, 0)]
    );
    assert_eq!((picture.malformed.count, picture.malformed.places[0].1), (1, 9));
    let findings = crate::net::health::assess(&picture, None);
    assert!(findings.iter().any(|finding| finding.section == "missing"));
}

#[test]
fn nothing_at_all() {
    let tree = Tree::new();
    tree.link("self/ns/net", format!("net:[{NETNS}]"));
    let picture = take(&tree);
    assert!(picture.interfaces.is_empty() && picture.counters.is_empty() && picture.conntrack.is_none());
    assert!(picture.absent.len() > 15, "{:?}", picture.absent);
    assert!(crate::net::health::assess(&picture, None).is_empty());
}

#[test]
fn empty_files_and_folders_in_their_place() {
    let tree = proc_of("linux-6.12");
    let names: Vec<String> = std::fs::read_dir(tree.path().join("net"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "stat")
        .collect();
    for name in &names {
        tree.file(&format!("net/{name}"), "");
    }
    let picture = take(&tree);
    assert_eq!(picture.malformed.count, 0);
    assert!(picture.interfaces.is_empty() && picture.counters.is_empty());
    for name in &names {
        std::fs::remove_file(tree.path().join("net").join(name)).unwrap();
        tree.file(&format!("net/{name}/below"), "");
    }
    let picture = take(&tree);
    assert!(picture.gaps.iter().any(|gap| gap.starts_with("dev: Is a directory")), "{:?}", picture.gaps);
}

#[test]
fn cut_files_and_garbage() {
    for kernel in ["linux-5.10", "linux-6.12"] {
        let tree = proc_of(kernel);
        for name in ["dev", "snmp", "netstat", "route", "nf_conntrack", "tcp", "softnet_stat", "stat/arp_cache"] {
            let path = tree.path().join("net").join(name);
            let whole = std::fs::read(&path).unwrap();
            for end in [1, whole.len() / 3, whole.len() / 2, whole.len().saturating_sub(3)] {
                std::fs::write(&path, &whole[..end.min(whole.len())]).unwrap();
                take(&tree);
            }
            std::fs::write(&path, [&whole[..], b"\xff\x00 garbage\n"].concat()).unwrap();
            let picture = take(&tree);
            assert_eq!(picture.malformed.count, 1, "{kernel}/{name}: {:?}", picture.malformed);
            assert!(picture.malformed.places[0].0.ends_with(name));
            std::fs::write(&path, whole).unwrap();
        }
    }
}

#[test]
fn files_that_may_not_be_read() {
    let tree = proc_of("linux-6.12");
    std::fs::set_permissions(tree.path().join("net/nf_conntrack"), std::fs::Permissions::from_mode(0o000)).unwrap();
    let picture = take(&tree);
    // Root may read it.
    // SAFETY: no arguments, cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        assert!(picture.gaps.iter().any(|gap| gap == "nf_conntrack: only root may read it"), "{:?}", picture.gaps);
    }
}

#[test]
fn limits_of_the_host_for_a_namespace_that_hides_them() {
    let host = Limits { tcp_mem: Some([1, 2, 3]), tcp_max_tw_buckets: Some(9), ..Limits::default() };
    let mut limits = Limits { udp_mem: Some([4, 5, 6]), ..Limits::default() };
    limits.or_of_host(&host);
    assert_eq!((limits.tcp_mem, limits.udp_mem), (Some([1, 2, 3]), Some([4, 5, 6])));
    assert_eq!(limits.tcp_max_tw_buckets, None, "each namespace has its own");
}

#[test]
fn ports_that_are_left_out() {
    for (text, left_out) in
        [("", 0), ("\n", 0), ("100", 1), ("99", 0), ("90-110", 11), ("105-130,200-300", 16), ("5-1,x-", 0)]
    {
        assert_eq!(reserved_in(text, (100, 120)), left_out, "{text}");
    }
}
