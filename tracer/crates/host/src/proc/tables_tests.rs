#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::thread;

use super::*;
use crate::proc::dir::bracketed;
use crate::proc::fd::SocketHolders;
use crate::proc::tree::Tree;
use tracer_stream::{TcpState, address};

const HEADER: &str =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

fn row(inode: u64) -> String {
    format!("   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0\n")
}

fn inode(socket: &impl AsRawFd) -> u64 {
    let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
    bracketed(link.as_os_str().as_encoded_bytes(), b"socket:").unwrap()
}

#[test]
fn every_namespace_is_read_once() {
    let tree = Tree::new();
    for (pid, netns) in [(1, 100), (2, 100), (3, 200), (4, 300)] {
        tree.link(&format!("{pid}/ns/net"), format!("net:[{netns}]"));
    }
    tree.file("1/net/tcp", format!("{HEADER}{}{}", row(11), row(12)));
    tree.file("1/net/tcp6", format!("{HEADER}{}oops\n", row(13)));
    tree.file("2/net/tcp", format!("{HEADER}{}", row(99)));
    tree.file("3/net/tcp", format!("{HEADER}{}", row(21)));
    // Cannot be read as a file.
    tree.file("4/net/tcp/x", "");
    let mut seen = Vec::new();
    let report = tcp_tables(&ProcRoot::new(tree.path()), |netns, row| seen.push((netns, row.inode)));
    assert_eq!(seen, [(100, 11), (100, 12), (100, 13), (200, 21)]);
    assert_eq!((report.namespaces, report.rows, report.malformed.count), (2, 4, 1));
    assert_eq!(report.malformed.places, [(tree.path().join("1/net/tcp6"), 3)]);
    let [unreadable] = &report.unreadable[..] else { panic!("{:?}", report.unreadable) };
    assert_eq!(unreadable.inode, 300);
    assert!(unreadable.why.to_string().contains("4/net/tcp"), "{}", unreadable.why);
}

#[test]
fn another_process_stands_in_for_one_that_moved() {
    let tree = Tree::new();
    let root = ProcRoot::new(tree.path());
    tree.link("1/ns/net", "net:[200]");
    tree.file("1/net/tcp", format!("{HEADER}{}", row(21)));
    tree.link("2/ns/net", "net:[100]");
    tree.file("2/net/tcp", format!("{HEADER}{}", row(11)));
    // The search ran while process 1 was still in 100.
    let tables = open(&root, &Netns { inode: 100, name: None, pid: Some(1), path: None }).unwrap().unwrap();
    assert_eq!(tables.iter().map(|(_, path)| path).collect::<Vec<_>>(), [&tree.path().join("2/net/tcp")]);
    // No process is left in 300.
    assert!(open(&root, &Netns { inode: 300, name: None, pid: Some(1), path: None }).unwrap().is_none());
    let path = Some(tree.path().join("gone"));
    assert!(open(&root, &Netns { inode: 300, name: None, pid: Some(1), path }).unwrap().is_none());
}

#[test]
fn own_listener_is_in_the_own_namespace() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let wanted = inode(&listener);
    let own = netns::by_pid(&ProcRoot::default(), std::process::id()).unwrap().unwrap();
    let mut found = Vec::new();
    let report = tcp_tables(&ProcRoot::default(), |netns, row| {
        if row.inode == wanted {
            found.push((netns, *row));
        }
    });
    let [(netns, row)] = found[..] else { panic!("{found:?}") };
    assert_eq!((netns, row.lport), (own, listener.local_addr().unwrap().port()));
    assert_eq!(row.tcp_state(), Some(TcpState::Listen));
    assert_eq!(report.malformed, Malformed::default());
    assert!(report.namespaces >= 1 && report.rows >= 1);
}

/// Makes a namespace that only descriptors keep alive, with a listener in it.
fn namespace_without_a_process() -> io::Result<(File, TcpListener)> {
    thread::spawn(|| {
        // SAFETY: only this thread moves, and it ends after this.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((File::open("/proc/thread-self/ns/net")?, TcpListener::bind("0.0.0.0:0")?))
    })
    .join()
    .unwrap()
}

#[test]
fn a_namespace_without_a_process_is_entered() {
    let (file, listener) = match namespace_without_a_process() {
        Ok(made) => made,
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            eprintln!("skipped: making a network namespace needs CAP_SYS_ADMIN");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let tree = Tree::new();
    tree.link("netns/lonely", format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()));
    let root = ProcRoot::default().with_netns_dirs([tree.path().join("netns")]);
    let expected = netns::by_name(&root, "lonely").unwrap().unwrap();
    let own = netns::by_pid(&root, std::process::id()).unwrap().unwrap();
    assert_ne!(expected, own);

    let mut rows: HashMap<u32, Vec<Row>> = HashMap::new();
    let report = tcp_tables(&root, |netns, row| rows.entry(netns).or_default().push(*row));
    // Other namespaces may come and go meanwhile.
    assert!(report.unreadable.iter().all(|unreadable| unreadable.inode != expected), "{report:?}");
    let [row] = rows[&expected][..] else { panic!("{rows:?}") };
    assert_eq!((row.inode, row.lport), (inode(&listener), listener.local_addr().unwrap().port()));
    assert_eq!(address(row.family, row.laddr).0, listener.local_addr().unwrap().ip());
    let (holders, _) = SocketHolders::scan(&root, None);
    assert_eq!(holders.holders(row.inode).first(), Some(&std::process::id()));

    // The thread that entered it is gone, and this thread never left its own.
    assert_eq!(netns::by_pid(&root, std::process::id()).unwrap(), Some(own));

    // The name leads to another namespace by now: as good as gone.
    let stale = Netns { inode: 1, name: None, pid: None, path: Some(tree.path().join("netns/lonely")) };
    assert!(open(&root, &stale).unwrap().is_none());
}

#[test]
fn a_namespace_whose_file_is_gone_is_looked_for_among_the_mounts() {
    let tree = Tree::new();
    let root = ProcRoot::new(tree.path());
    tree.file("netns/plain", "");
    let path = tree.path().join("netns/plain");
    let netns = Netns { inode: 1, name: None, pid: None, path: Some(path.clone()) };
    assert!(open(&root, &netns).unwrap().is_none(), "nothing is mounted there any more");
    tree.file("self/mountinfo", format!("212 24 0:4 net:[1] {} rw - nsfs nsfs rw\n", path.display()));
    assert!(matches!(open(&root, &netns), Err(NetnsError::Hidden { .. })));
    let report = tcp_tables(&root, |_, _| unreachable!());
    assert_eq!((report.namespaces, report.unreadable.len()), (0, 1));

    tree.link("other", "/proc/self/ns/net");
    let own = netns::by_pid(&ProcRoot::default(), std::process::id()).unwrap().unwrap();
    let mount = format!("212 24 0:4 net:[{own}] {} rw - nsfs nsfs rw\n", tree.path().join("other").display());
    tree.file("self/mountinfo", mount);
    tree.file("thread-self/net/tcp", format!("{HEADER}{}", row(11)));
    let netns = Netns { inode: own, name: None, pid: None, path: Some(path) };
    match open(&root, &netns) {
        Ok(tables) => assert_eq!(tables.unwrap().len(), 1),
        // Entering the own namespace takes the privilege, too.
        Err(error) => assert!(matches!(error, NetnsError::Enter { .. }), "{error}"),
    }
}
