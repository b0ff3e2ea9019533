//! `tracer sockets` beside ss: the same sockets and numbers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tracer_tests::busy::{Busy, Line, after, our_lines, our_pids, pids_of_ss, rows, same, ss_lines, tracer};
use tracer_tests::churn::Endless;

#[test]
fn tcp_is_what_ss_shows() {
    let busy = Busy::start();
    let theirs = ss_lines(&busy.ss("-tanpe"));
    let states: BTreeSet<&str> = theirs.iter().map(|line| line.state.as_str()).collect();
    // No table has sockets in CLOSE.
    let every = [
        "LISTEN",
        "SYN_SENT",
        "SYN_RECV",
        "ESTABLISHED",
        "FIN_WAIT1",
        "FIN_WAIT2",
        "CLOSE_WAIT",
        "CLOSING",
        "LAST_ACK",
        "TIME_WAIT",
    ];
    assert_eq!(states, BTreeSet::from(every));
    assert!(theirs.iter().any(|line| line.pids.len() == 2), "two holders");
    for args in [&["-t"][..], &["-t", "--via", "netlink"], &["-t", "--via", "bpf"]] {
        same(&busy.as_ss_knows(args), &theirs);
    }
    same(&without_limits(&busy.as_ss_knows(&["-t", "--via", "proc"])), &without_limits(&theirs));
}

/// Lines without the limits of queues, which /proc does not have.
fn without_limits(lines: &BTreeSet<Line>) -> BTreeSet<Line> {
    lines.iter().map(|l| Line { send_q: if l.state == "LISTEN" { 0 } else { l.send_q }, ..l.clone() }).collect()
}

#[test]
fn every_namespace_is_what_ss_shows_in_it() {
    let scenes = [Busy::start(), Busy::start(), Busy::start()];
    for via in ["auto", "netlink", "bpf", "proc"] {
        let out = tracer(&["--json", "-t", "--via", via]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let all = rows(&out);
        for busy in &scenes {
            let own: Vec<Value> = all.iter().filter(|row| row["netns"] == busy.ns.inode()).cloned().collect();
            assert!(own.iter().all(|row| row["netns_name"] == busy.ns.name()), "{via}");
            same(&without_limits(&busy.known_to_ss(&own)), &without_limits(&ss_lines(&busy.ss("-tanpe"))));
        }
    }
}

fn is_unique<T: Ord>(list: &[T]) -> bool {
    list.iter().collect::<BTreeSet<_>>().len() == list.len()
}

#[test]
fn what_comes_and_goes_hides_nothing_else() {
    let busy = Busy::start();
    // Sockets with a file stay; the others end at some time.
    let stays =
        |lines: BTreeSet<Line>| -> BTreeSet<Line> { lines.into_iter().filter(|line| line.inode != 0).collect() };
    let theirs = stays(ss_lines(&busy.ss("-tanpe")));
    let churn = Endless::start(&busy.ns, 2, &[], None);
    let mut met = 0;
    for _ in 0..5 {
        for via in ["auto", "netlink", "bpf"] {
            let rows = busy.tracer(&["-t", "--via", via]);
            let ours = busy.known_to_ss(&rows);
            let missing: Vec<&Line> = theirs.difference(&ours).collect();
            assert!(missing.is_empty(), "{via}: {missing:?}");
            met += ours.len() - theirs.len();
            let cookies: Vec<u64> = rows.iter().filter_map(|row| row["cookie"].as_u64()).collect();
            assert!(is_unique(&cookies), "{via}: a socket is there twice");
            let connections = rows.iter().filter(|row| row["state"] != "LISTEN");
            let ends: Vec<String> = connections
                .map(|row| ["netns", "laddr", "lport", "raddr", "rport"].map(|key| row[key].to_string()).join(" "))
                .collect();
            assert!(is_unique(&ends), "{via}: a connection is there twice");
        }
    }
    assert!(churn.end()["connections"].as_u64().unwrap() > 0);
    assert!(met > 0, "some connections came and went");
}

#[test]
fn udp_is_what_ss_shows() {
    let busy = Busy::start();
    let theirs = ss_lines(&busy.ss("-uanpe"));
    assert_eq!(theirs.len(), 4);
    for via in ["auto", "bpf", "netlink", "proc"] {
        same(&our_lines(&busy.tracer(&["--proto", "udp", "--via", via])), &theirs);
    }
}

#[test]
fn raw_sockets_are_there() {
    let busy = Busy::start();
    for via in ["auto", "proc"] {
        let rows = busy.tracer(&["--proto", "raw", "--via", via]);
        let protocols: BTreeSet<(u64, u64)> =
            rows.iter().map(|row| (row["family"].as_u64().unwrap(), row["lport"].as_u64().unwrap())).collect();
        assert_eq!(protocols, BTreeSet::from([(4, 1), (6, 58)]), "{via}");
        assert!(rows.iter().all(|row| our_pids(row).len() == 2), "{via}: {rows:?}");
    }
}

#[test]
fn unix_is_what_ss_shows() {
    let busy = Busy::start();
    let text = busy.ss("-xanp");
    let theirs: BTreeSet<(String, u64, u64, BTreeSet<u64>)> = text
        .lines()
        .map(|line| {
            // Names of these sockets have no blanks.
            let line_of = |name: &str| line.replace(name, name.replace(' ', "_").as_str());
            let line = line_of(&format!("@tracer abstract {}", busy.path.display()));
            let words: Vec<&str> = line.split_whitespace().collect();
            let state = words[1].replace("ESTAB", "ESTABLISHED");
            (state, words[5].parse().unwrap(), words[7].parse().unwrap(), pids_of_ss(&line))
        })
        .collect();
    for via in ["auto", "netlink"] {
        let rows = busy.tracer(&["-x", "--via", via]);
        let ours = rows
            .iter()
            .map(|row| {
                let number = |key: &str| row[key].as_u64().unwrap_or(0);
                (row["state"].as_str().unwrap().to_owned(), number("inode"), number("peer_inode"), our_pids(row))
            })
            .collect();
        same(&ours, &theirs);
    }
    let named: BTreeMap<String, usize> =
        busy.tracer(&["-x", "--via", "proc"]).iter().fold(BTreeMap::new(), |mut all, row| {
            *all.entry(row["path"].as_str().unwrap_or("").to_owned()).or_default() += 1;
            all
        });
    let path = busy.path.display().to_string();
    // Listener, accepted and waiting end.
    assert_eq!((named[&path], named[&format!("@tracer abstract {path}")]), (3, 3));
}

#[test]
fn packet_and_netlink_sockets_have_their_owners() {
    let busy = Busy::start();
    for via in ["auto", "netlink", "proc"] {
        let rows = busy.tracer(&["--proto", "packet,netlink", "--via", via]);
        let held = |proto: &str| {
            rows.iter().filter(|row| row["proto"] == proto && our_pids(row).contains(&u64::from(busy.child))).count()
        };
        assert_eq!((held("packet"), held("netlink")), (1, 1), "{via}: {rows:?}");
    }
}

#[test]
fn figures_are_the_kernels() {
    let busy = Busy::start();
    let rows = busy.tracer(&["-t", "--state", "established"]);
    let row = rows.iter().find(|row| row["tx_bytes"] == 1234).unwrap();
    let peer = rows.iter().find(|other| other["lport"] == row["rport"] && other["rport"] == row["lport"]).unwrap();
    assert_eq!((&peer["rx_bytes"], &peer["recv_q"]), (&Value::from(1234), &Value::from(1234)));
    let port = format!("sport = :{}", row["lport"]);
    let theirs = busy.ns.run(&["ss", "-Htni", &port]);
    let cwnd: u64 = after(&theirs, "cwnd:").unwrap().parse().unwrap();
    assert_eq!(row["cwnd"].as_u64(), Some(cwnd), "{theirs}");
    let rtt: f64 = after(&theirs, "rtt:").unwrap().split('/').next().unwrap().parse().unwrap();
    let ours = f64::from(u32::try_from(row["srtt_us"].as_u64().unwrap()).unwrap()) / 1000.0;
    assert!((rtt - ours).abs() < 0.001, "{theirs} {row}");
    assert!(theirs.contains(row["congestion"].as_str().unwrap()), "{theirs} {row}");
    for listener in busy.tracer(&["--state", "listen", "-t"]) {
        let limit = listener["backlog_limit"].as_u64().unwrap();
        assert!(limit == 7 || limit == 1, "{listener}");
    }
}
