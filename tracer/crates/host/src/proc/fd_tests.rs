#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;

use super::*;
use crate::proc::tree::Tree;

fn inode(socket: &impl AsRawFd) -> u64 {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
    bracketed(link.as_os_str().as_encoded_bytes(), b"socket:").unwrap()
}

fn scan(tree: &Tree, wanted: Option<&HashSet<u64>>) -> (SocketHolders, Report) {
    SocketHolders::scan(&ProcRoot::new(tree.path()), wanted)
}

#[test]
fn holders_are_in_the_order_of_their_start() {
    let tree = Tree::new();
    // Ids have wrapped: the oldest process has the largest.
    for (pid, ticks) in [(10, 300), (11, 200), (4000, 100), (12, 200)] {
        tree.process(pid, "server", ticks);
        tree.link(&format!("{pid}/fd/3"), "socket:[77]");
        tree.link(&format!("{pid}/fd/4"), format!("socket:[{}]", 1000 + pid));
        tree.link(&format!("{pid}/fd/5"), "socket:[77]");
        tree.link(&format!("{pid}/fd/6"), "/var/log/socket:[78]");
        tree.link(&format!("{pid}/fd/7"), "anon_inode:[eventpoll]");
        tree.link(&format!("{pid}/fd/8"), format!("/{}", "long".repeat(100)));
    }
    let (holders, report) = scan(&tree, None);
    assert_eq!(holders.holders(77), [4000, 11, 12, 10]);
    assert_eq!(holders.holders(1011), [11]);
    assert_eq!(holders.holders(5000), [4000]);
    assert_eq!((holders.holders(78), holders.holders(0), holders.holders(u64::MAX)), (&[][..], &[][..], &[][..]));
    assert_eq!(holders.len(), 5);
    assert_eq!((report.processes, report.denied, report.errors.len()), (4, 0, 0));
}

#[test]
fn only_the_wanted_ones() {
    let tree = Tree::new();
    for pid in 1..=50u32 {
        tree.process(pid, "worker", u64::from(pid));
        for fd in 0..20 {
            tree.link(&format!("{pid}/fd/{fd}"), format!("socket:[{}]", 1000 * pid + fd));
        }
    }
    let (all, report) = scan(&tree, None);
    assert_eq!((all.len(), report.processes), (1000, 50));
    let wanted = HashSet::from([7003, 50_019, 99]);
    let (some, report) = scan(&tree, Some(&wanted));
    assert_eq!((some.len(), report.processes), (2, 50));
    assert_eq!((some.holders(7003), some.holders(50_019)), (&[7][..], &[50][..]));
    assert!(some.holders(7004).is_empty() && some.holders(99).is_empty());
    let (none, _) = scan(&tree, Some(&HashSet::new()));
    assert!(none.is_empty());
}

#[test]
fn what_cannot_be_read_is_said() {
    let tree = Tree::new();
    // Gone between the two reads: neither a holder nor an error.
    tree.link("5/fd/3", "socket:[5]");
    // The processes are gone.
    tree.file("6/comm", "x\n");
    tree.link("7/fd/3", "socket:[7]");
    tree.file("7/stat", "nonsense");
    let (holders, report) = scan(&tree, None);
    assert!(holders.is_empty());
    assert_eq!((report.processes, report.denied), (0, 0));
    let [error] = &report.errors[..] else { panic!("{:?}", report.errors) };
    assert_eq!(error.path, tree.path().join("7"));

    let (holders, report) = SocketHolders::scan(&ProcRoot::new(tree.path().join("nowhere")), None);
    assert!(holders.is_empty() && report.errors.len() == 1, "a procfs that is not there is an error");
}

#[test]
fn own_sockets_are_held_by_this_process() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let again = listener.try_clone().unwrap();
    let tree = Tree::new();
    let unix = UnixListener::bind(tree.path().join("socket")).unwrap();
    let (listener_inode, unix_inode) = (inode(&listener), inode(&unix));
    assert_eq!(listener_inode, inode(&again));
    let wanted = HashSet::from([listener_inode, unix_inode]);
    for wanted in [None, Some(&wanted)] {
        let (holders, report) = SocketHolders::scan(&ProcRoot::default(), wanted);
        assert!(report.processes >= 1);
        assert!(report.errors.is_empty(), "{:?}", report.errors);
        // A child that another test starts right now holds a copy until its exec: it is younger.
        assert_eq!(holders.holders(listener_inode).first(), Some(&std::process::id()));
        assert_eq!(holders.holders(unix_inode).first(), Some(&std::process::id()));
    }
    drop((listener, again));
    let (holders, _) = SocketHolders::scan(&ProcRoot::default(), None);
    assert!(!holders.holders(listener_inode).contains(&std::process::id()));
}
