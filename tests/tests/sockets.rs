//! `tracer sockets` beside ss, lsof and itself: the same sockets, owners and numbers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tracer_tests::agent::tracer_program;
use tracer_tests::generator::traffic_program;
use tracer_tests::netns::{Netns, command, scratch};
use tracer_tests::skip::{missing_tool, skip};

/// A namespace in which a process and its child hold sockets in many states.
struct Busy {
    ns: Netns,
    holder: Child,
    child: u32,
    /// The port of the listener that only a thread with a file table of its own holds; 0 for none.
    apart: u64,
    path: PathBuf,
}

impl Busy {
    fn start() -> Self {
        let ns = Netns::new();
        ns.nft_rule("output", "ip daddr 127.0.0.9 drop");
        // What keeps connections in the states that are over in a moment, see busy.py. Where it comes in: a
        // SYN-ACK that cannot be sent ends the handshake.
        let rules = [("ip", "127.0.0.2"), ("ip6", "fd07::2")].map(|(family, own)| {
            let (deaf, endless, mute) = (format!("{own}1"), format!("{own}2"), format!("{own}3"));
            format!(
                "{family} saddr {deaf} tcp flags & syn == 0 drop\n\
                 {family} daddr {endless} tcp flags & fin == fin drop\n\
                 {family} saddr {mute} tcp flags & (syn | ack) == (syn | ack) drop"
            )
        });
        ns.nft_rule("input", &rules.join("\n"));
        for last in 1..=3 {
            ns.ip(&["address", "add", &format!("fd07::2{last}/128"), "dev", "lo", "nodad"]);
        }
        // As long as the test takes, also on a slow machine.
        ns.sysctl("net/ipv4/tcp_synack_retries", "10");
        ns.sysctl("net/ipv4/tcp_syn_retries", "10");
        let path = scratch().join(format!("{}.sock", ns.name()));
        let mut holder = Command::new("ip")
            .args(["netns", "exec", ns.name(), "python3", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/busy.py")])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("READY"), "the holder gets ready: {line}");
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        let (child, apart) = (u32::try_from(number()).unwrap(), number());
        Self { ns, holder, child, apart, path }
    }

    fn ss(&self, options: &str) -> String {
        command("ip", &["netns", "exec", self.ns.name(), "ss", "-H", options])
    }

    /// What `tracer sockets` says of this namespace, from outside of it.
    fn tracer(&self, args: &[&str]) -> Vec<Value> {
        let netns = self.ns.inode().to_string();
        let out = tracer(&[&["--json", "--netns", &netns], args].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        rows(&out)
    }
}

impl Busy {
    /// The lines of `tracer sockets`, as [`Busy::known_to_ss`].
    fn as_ss_knows(&self, args: &[&str]) -> BTreeSet<Line> {
        self.known_to_ss(&self.tracer(args))
    }

    /// The lines of `rows`, without what ss does not look into: tables of single threads.
    fn known_to_ss(&self, rows: &[Value]) -> BTreeSet<Line> {
        let apart = format!(":{}", self.apart);
        let is_apart = |line: &Line| self.apart != 0 && line.local.ends_with(&apart);
        let line = |line: Line| if is_apart(&line) { Line { pids: BTreeSet::new(), ..line } } else { line };
        our_lines(rows).into_iter().map(line).collect()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        let _ = std::fs::remove_file(&self.path);
    }
}

fn tracer(args: &[&str]) -> Output {
    Command::new(tracer_program()).arg("sockets").args(args).output().unwrap()
}

fn rows(out: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&out.stdout);
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{line}: {why}"))).collect()
}

/// Everything that both tools tell of a socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    state: String,
    local: String,
    remote: String,
    recv_q: u64,
    send_q: u64,
    inode: u64,
    pids: BTreeSet<u64>,
}

/// An end as ss writes it, in one form: `any` for all addresses, IPv4 where it is mapped.
fn end(text: &str) -> String {
    let (addr, port) = text.rsplit_once(':').unwrap();
    let port = if port == "*" { "0" } else { port };
    let addr = addr.split('%').next().unwrap().trim_matches(['[', ']']);
    match addr.parse::<IpAddr>() {
        Ok(addr) if !addr.is_unspecified() => format!("{}:{port}", addr.to_canonical()),
        _ => format!("any:{port}"),
    }
}

fn pids_of_ss(line: &str) -> BTreeSet<u64> {
    line.split("pid=").skip(1).map(|rest| rest.split(',').next().unwrap().parse().unwrap()).collect()
}

fn after<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(key))
}

/// The lines of `ss -e`; a socket without a file has no `ino:` there, or 0.
fn ss_lines(text: &str) -> BTreeSet<Line> {
    let state = |word: &str| match word {
        "ESTAB" => "ESTABLISHED".to_owned(),
        "FIN-WAIT-1" => "FIN_WAIT1".to_owned(),
        "FIN-WAIT-2" => "FIN_WAIT2".to_owned(),
        word => word.replace('-', "_"),
    };
    text.lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |at: usize| words[at].parse().unwrap_or_else(|_| panic!("{line}"));
            Line {
                state: state(words[0]),
                recv_q: number(1),
                send_q: number(2),
                local: end(words[3]),
                remote: end(words[4]),
                inode: after(line, "ino:").map_or(0, |inode| inode.parse().unwrap()),
                pids: pids_of_ss(line),
            }
        })
        .collect()
}

fn our_pids(row: &Value) -> BTreeSet<u64> {
    // ss does not say whose a connection is that nobody has accepted.
    if row["owner_source"] != "fd" {
        return BTreeSet::new();
    }
    let others = row["holders"].as_array().into_iter().flatten();
    row["owner"]["pid"].as_u64().into_iter().chain(others.filter_map(Value::as_u64)).collect()
}

fn our_line(row: &Value) -> Line {
    let end = |addr: &str, port: &str| {
        let port = row[port].as_u64().unwrap_or(0);
        match row[addr].as_str().map(|addr| addr.parse::<IpAddr>().unwrap()) {
            Some(addr) if !addr.is_unspecified() => format!("{addr}:{port}"),
            _ => format!("any:{port}"),
        }
    };
    Line {
        state: row["state"].as_str().unwrap().to_owned(),
        recv_q: row["recv_q"].as_u64().unwrap(),
        send_q: row["send_q"].as_u64().unwrap(),
        local: end("laddr", "lport"),
        remote: end("raddr", "rport"),
        inode: row["inode"].as_u64().unwrap_or(0),
        pids: our_pids(row),
    }
}

fn our_lines(rows: &[Value]) -> BTreeSet<Line> {
    rows.iter().map(our_line).collect()
}

#[track_caller]
fn same<T: Ord + std::fmt::Debug>(ours: &BTreeSet<T>, theirs: &BTreeSet<T>) {
    let only =
        |a: &BTreeSet<T>, b: &BTreeSet<T>| -> Vec<String> { a.difference(b).map(|x| format!("{x:?}")).collect() };
    assert!(
        ours == theirs,
        "only tracer:\n{}\nonly the other:\n{}",
        only(ours, theirs).join("\n"),
        only(theirs, ours).join("\n")
    );
}

#[test]
fn tcp_is_what_ss_shows() {
    let busy = Busy::start();
    let theirs = ss_lines(&busy.ss("-tanpe"));
    let states: BTreeSet<&str> = theirs.iter().map(|line| line.state.as_str()).collect();
    // CLOSE is in no table.
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

/// /proc does not tell how many connections may wait.
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

#[test]
fn what_comes_and_goes_hides_nothing_else() {
    let busy = Busy::start();
    // Sockets with a file stay as they are; of the others each end comes in its time.
    let stays =
        |lines: BTreeSet<Line>| -> BTreeSet<Line> { lines.into_iter().filter(|line| line.inode != 0).collect() };
    let theirs = stays(ss_lines(&busy.ss("-tanpe")));
    let mut churn = Command::new("ip")
        .args(["netns", "exec", busy.ns.name()])
        .arg(traffic_program())
        .args(["churn", "--threads", "2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut met = 0;
    for _ in 0..5 {
        for via in ["auto", "netlink", "bpf"] {
            let rows = busy.tracer(&["-t", "--via", via]);
            let ours = busy.known_to_ss(&rows);
            let missing: Vec<&Line> = theirs.difference(&ours).collect();
            assert!(missing.is_empty(), "{via}: {missing:?}");
            met += ours.len() - theirs.len();
            let cookies: BTreeSet<u64> = rows.iter().filter_map(|row| row["cookie"].as_u64()).collect();
            assert!(cookies.is_empty() || cookies.len() == rows.len(), "{via}: a socket is there twice");
        }
    }
    drop(churn.stdin.take());
    assert!(churn.wait().unwrap().success());
    assert!(met > 0, "there was something that came and went");
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
            // The names of this scene have blanks only in front of the inode.
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
fn lsof_names_the_same_files() {
    if let Some(why) = missing_tool("lsof") {
        return skip(&why);
    }
    let busy = Busy::start();
    let text = command("ip", &["netns", "exec", busy.ns.name(), "lsof", "-nP", "-iTCP", "-iUDP", "-F", "pPnT"]);
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
        // lsof does not see the file tables of threads unless it is asked to.
        .filter(|row| row["lport"].as_u64() != Some(busy.apart) || busy.apart == 0)
        .flat_map(|row| {
            let line = our_line(row);
            let proto = row["proto"].as_str().unwrap().to_owned();
            line.pids.into_iter().map(move |pid| (pid, proto.clone(), line.local.clone(), line.remote.clone()))
        })
        .collect();
    // A socket that is bound and does nothing is in no table, and lsof shows it without an address.
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
fn figures_are_the_kernels() {
    let busy = Busy::start();
    let rows = busy.tracer(&["-t", "--state", "established"]);
    let row = rows.iter().find(|row| row["tx_bytes"] == 1234).unwrap();
    let peer = rows.iter().find(|other| other["lport"] == row["rport"] && other["rport"] == row["lport"]).unwrap();
    assert_eq!((&peer["rx_bytes"], &peer["recv_q"]), (&Value::from(1234), &Value::from(1234)));
    let port = format!("sport = :{}", row["lport"]);
    let theirs = command("ip", &["netns", "exec", busy.ns.name(), "ss", "-Htni", &port]);
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

/// As user nobody, with a /proc that hides other users' processes if `hide`.
fn as_nobody(hide: bool, args: &str) -> Output {
    let program = scratch().join("tracer-for-nobody");
    let staged = scratch().join(format!("staged-{:?}", std::thread::current().id()));
    std::fs::copy(tracer_program(), &staged).unwrap();
    std::fs::rename(&staged, &program).unwrap();
    let mount = if hide { "mount -t proc -o hidepid=2 proc /proc && " } else { "" };
    let line =
        format!("{mount}exec setpriv --reuid 65534 --regid 65534 --clear-groups {} sockets {args}", program.display());
    let out = Command::new("unshare").args(["-m", "sh", "-c", &line]).output().unwrap();
    let _ = std::fs::remove_file(&program);
    out
}

#[test]
fn without_root_it_says_what_it_cannot_see() {
    // A listener of root's in the namespace that everybody may look at.
    let held = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = held.local_addr().unwrap().port();
    for hide in [false, true] {
        let out = as_nobody(hide, &format!("--json --lport {port} -l"));
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{said}");
        let rows = rows(&out);
        assert_eq!(rows.len(), 1, "{said}");
        assert_eq!((&rows[0]["owner"], &rows[0]["uid"]), (&Value::Null, &Value::from(0)));
        let why = if hide { "are hidden: no process that is visible here" } else { "need root: " };
        assert!(said.contains(&format!("owners of 1 socket {why}")), "{said}");
        let refused = as_nobody(hide, "--via bpf");
        assert_eq!(refused.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&refused.stderr).contains("no BPF iterators"));
    }
    drop(held);
}

#[test]
fn what_comes_and_goes_is_told() {
    let ns = Netns::new();
    let netns = ns.inode().to_string();
    let mut child = Command::new(tracer_program())
        .args(["sockets", "--json", "-t", "--watch", "50ms", "--netns", &netns])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let listener = ns.within(|| std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap());
    let port = listener.local_addr().unwrap().port();
    // It is in the first picture, or appears in a later one.
    let first = next();
    assert_eq!((first["lport"].as_u64(), &first["state"]), (Some(port.into()), &Value::from("LISTEN")));
    drop(listener);
    let gone = next();
    assert_eq!((&gone["change"], &gone["conn"]), (&Value::from("vanished"), &first["conn"]));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn lines_have_100_columns() {
    let busy = Busy::start();
    let netns = busy.ns.inode().to_string();
    let out = tracer(&["-a", "--netns", &netns]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.lines().count() > 40);
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert!(text.contains(&format!("network namespace {}", busy.ns.name())), "{text}");
    let tree = tracer(&["--tree", "-t", "--netns", &netns]);
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains(&format!("[{}]", busy.child)), "{tree}");
}
