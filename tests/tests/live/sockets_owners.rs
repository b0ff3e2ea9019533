//! Owners in `tracer sockets`.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;

use serde_json::Value;
use tracer_tests::busy::{Busy, end, our_line, our_pids, rows, same, tracer};
use tracer_tests::machine;
use tracer_tests::skip::{missing_tool, skip};

#[test]
fn lsof_names_the_same_files() {
    if let Some(why) = missing_tool("lsof") {
        return skip(&why);
    }
    let busy = Busy::start();
    let text = busy.ns.run(&["lsof", "-nP", "-iTCP", "-iUDP", "-F", "pPnT"]);
    let (mut theirs, mut pid, mut proto) = (BTreeSet::new(), 0, "");
    for line in text.lines() {
        match line.split_at(1) {
            ("p", value) => pid = value.parse::<u64>().unwrap(),
            ("P", value) => proto = value,
            ("n", value) => {
                let (local, remote) = value.split_once("->").unwrap_or((value, "*:*"));
                theirs.insert((pid, proto.to_lowercase(), end(local), end(remote)));
            }
            _ => {}
        }
    }
    let ours: BTreeSet<_> = busy
        .tracer(&["-t", "-u"])
        .iter()
        // Without an option lsof does not read the file tables of threads.
        .filter(|row| row["lport"].as_u64() != Some(busy.apart) || busy.apart == 0)
        .flat_map(|row| {
            let line = our_line(row);
            let proto = row["proto"].as_str().unwrap().to_owned();
            line.pids.into_iter().map(move |pid| (pid, proto.clone(), line.local.clone(), line.remote.clone()))
        })
        .collect();
    // No table has a socket that is only bound; lsof shows it without an address.
    theirs.retain(|(_, _, local, _)| ours.iter().any(|(_, _, our_local, _)| our_local == local));
    same(&ours, &theirs);
}

#[test]
fn a_thread_with_files_of_its_own_is_looked_into() {
    let busy = Busy::start();
    if busy.apart == 0 {
        return skip("kernel: unshare(CLONE_FILES) is refused");
    }
    let port = busy.apart.to_string();
    for via in ["bpf", "netlink", "proc"] {
        let rows = busy.tracer(&["--lport", &port, "--via", via]);
        assert_eq!(rows.len(), 1, "{via}");
        assert_eq!(our_pids(&rows[0]), BTreeSet::from([u64::from(busy.holder.id())]), "{via}");
    }
}

#[test]
fn a_connection_that_waits_for_accept_is_its_listeners() {
    let busy = Busy::start();
    for row in busy.tracer(&["-t"]).iter().filter(|row| row["inode"].is_null()) {
        match row["state"].as_str().unwrap() {
            "ESTABLISHED" | "SYN_RECV" => {
                assert_eq!(row["owner_source"], "listener", "{row}");
                assert_eq!(row["owner"]["pid"].as_u64(), Some(u64::from(busy.holder.id())), "{row}");
            }
            _ => assert_eq!((&row["owner"], &row["owner_source"]), (&Value::Null, &Value::from("unknown")), "{row}"),
        }
    }
}

#[test]
fn a_process_with_very_many_sockets_is_their_owner() {
    // More than `iter/task` can show of one process (32 KiB).
    const PAIRS: usize = 4500;
    machine::raise_files(2 * PAIRS as u64 + 100);
    let held: Vec<_> = (0..PAIRS).map(|_| UnixStream::pair().unwrap()).collect();
    let pid = std::process::id().to_string();
    for via in ["auto", "bpf", "netlink"] {
        let out = tracer(&["-v", "--json", "-x", "--pid", &pid, "--via", via]);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{said}");
        assert!(rows(&out).len() >= 2 * PAIRS, "{via}: {} rows: {said}", rows(&out).len());
        assert!(!said.contains("holders by iter/task\n"), "{via}: {said}");
    }
    drop(held);
}
