#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::proc::tree::Tree;

/// Returns the inode of the test's own namespace, by another way than the code.
fn own() -> u32 {
    u32::try_from(fs::metadata("/proc/self/ns/net").unwrap().ino()).unwrap()
}

#[test]
fn each_namespace_once() {
    let tree = Tree::new();
    for (pid, inode) in [(1, 4_026_531_840u32), (30, 4_026_531_840), (9, u32::MAX), (31, u32::MAX), (200, 12)] {
        tree.link(&format!("{pid}/ns/net"), format!("net:[{inode}]"));
    }
    tree.file("300/comm", "a zombie has no namespace\n");
    let found = find(&ProcRoot::new(tree.path()));
    let netns = |inode, pid| Netns { inode, name: None, pid: Some(pid), path: None };
    assert_eq!(found.namespaces, [netns(4_026_531_840, 1), netns(u32::MAX, 9), netns(12, 200)]);
    assert_eq!((found.denied, found.errors.len()), (0, 0));
    assert_eq!(some_process(&ProcRoot::new(tree.path()), u32::MAX), Some(9));
    assert_eq!(some_process(&ProcRoot::new(tree.path()), 13), None);
}

#[test]
fn odd_links_are_errors() {
    let tree = Tree::new();
    for (pid, link) in [(1, "mnt:[5]"), (2, "net:[4294967296]"), (3, "net:[]"), (4, "")] {
        if link.is_empty() {
            tree.file(&format!("{pid}/ns/net"), "");
        } else {
            tree.link(&format!("{pid}/ns/net"), link);
        }
    }
    let found = find(&ProcRoot::new(tree.path()));
    assert!(found.namespaces.is_empty());
    assert_eq!(found.errors.len(), 4, "{:?}", found.errors);

    let found = find(&ProcRoot::new(tree.path().join("nowhere")));
    assert_eq!(found.errors.len(), 1, "a procfs that is not there is an error");
}

#[test]
fn names_lead_to_namespaces() {
    let tree = Tree::new();
    // A link to a process's namespace names it for `ip netns`, too.
    tree.link("netns/red", "/proc/self/ns/net");
    tree.file("netns/left-over", "");
    tree.link("netns/gone", "/proc/self/ns/no-such");
    tree.link("docker/f00d", "/proc/self/ns/net");
    tree.link("docker/mount", "/proc/self/ns/mnt");
    let root = ProcRoot::new(tree.path().join("proc"))
        .with_netns_dirs(["none", "netns", "docker"].map(|dir| tree.path().join(dir)));
    for name in ["red", "f00d"] {
        assert_eq!(by_name(&root, name).unwrap(), Some(own()), "{name}");
    }
    for name in ["green", "gone", "", ".", "..", "../netns/red", "a\0b"] {
        assert_eq!(by_name(&root, name).unwrap(), None, "{name:?}");
    }
    for name in ["left-over", "mount"] {
        assert!(matches!(by_name(&root, name), Err(NetnsError::NotNetns { .. })), "{name}");
    }

    tree.link("proc/77/ns/net", format!("net:[{}]", own()));
    let found = find(&root);
    let expected =
        Netns { inode: own(), name: Some("red".into()), pid: Some(77), path: Some(tree.path().join("netns/red")) };
    assert_eq!(found.namespaces, [expected]);
    assert!(found.errors.is_empty(), "{:?}", found.errors);
}

#[test]
fn mounts_are_namespaces_without_a_process() {
    let tree = Tree::new();
    tree.file("self/mountinfo", "212 24 0:4 net:[4026532201] /srv/kept rw shared:118 - nsfs nsfs rw\n");
    let found = find(&ProcRoot::new(tree.path()));
    let expected = Netns { inode: 4_026_532_201, name: None, pid: None, path: Some("/srv/kept".into()) };
    assert_eq!(found.namespaces, [expected]);
}

#[test]
fn own_namespace_is_found() {
    let root = ProcRoot::default();
    assert_eq!(by_pid(&root, std::process::id()).unwrap(), Some(own()));
    assert_eq!(by_pid(&root, u32::MAX).unwrap(), None);
    let found = find(&root);
    let mut inodes: Vec<u32> = found.namespaces.iter().map(|netns| netns.inode).collect();
    assert_eq!(inodes.iter().filter(|&&inode| inode == own()).count(), 1);
    inodes.sort_unstable();
    inodes.dedup();
    assert_eq!(inodes.len(), found.namespaces.len());
}
