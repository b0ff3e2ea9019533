//! A namespace full of sockets, and the output of ss and `tracer sockets` about them in one form.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::agent::tracer_program;
use crate::netns::{Netns, scratch};
use crate::schema;

/// A namespace in which a process and its child hold sockets in many states.
pub struct Busy {
    /// The namespace.
    pub ns: Netns,
    /// The process.
    pub holder: Child,
    /// Its child.
    pub child: u32,
    /// The port of the listener that only a thread with a file table of its own holds; 0 if there is none.
    pub apart: u64,
    /// The name of its Unix sockets.
    pub path: PathBuf,
}

impl Busy {
    /// Waits until all of them exist.
    #[must_use]
    pub fn start() -> Self {
        let ns = Netns::new();
        ns.nft_rule("output", "ip daddr 127.0.0.9 drop");
        // Keeps connections in short-lived states, see busy.py. Where packets come in: a SYN-ACK that cannot be sent
        // ends the handshake.
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
        let mut holder = ns
            .command("python3")
            .args(["-c", include_str!("busy.py")])
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

    /// The output of ss in it.
    #[must_use]
    pub fn ss(&self, options: &str) -> String {
        self.ns.run(&["ss", "-H", options])
    }

    /// The output of `tracer sockets` about this namespace, from outside.
    #[must_use]
    pub fn tracer(&self, args: &[&str]) -> Vec<Value> {
        let netns = self.ns.inode().to_string();
        let out = tracer(&[&["--json", "--netns", &netns], args].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        rows(&out)
    }

    /// The lines of `tracer sockets`, like [`Busy::known_to_ss`].
    #[must_use]
    pub fn as_ss_knows(&self, args: &[&str]) -> BTreeSet<Line> {
        self.known_to_ss(&self.tracer(args))
    }

    /// The lines of `rows`, without sockets that ss cannot find: those in tables of single threads.
    #[must_use]
    pub fn known_to_ss(&self, rows: &[Value]) -> BTreeSet<Line> {
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

/// Runs `tracer sockets`.
#[must_use]
pub fn tracer(args: &[&str]) -> Output {
    Command::new(tracer_program()).arg("sockets").args(args).output().unwrap()
}

/// The objects in its output.
#[must_use]
pub fn rows(out: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&out.stdout);
    let row = |line: &str| {
        let row = serde_json::from_str(line).unwrap_or_else(|why| panic!("{line}: {why}"));
        schema::check(&row);
        row
    };
    text.lines().map(row).collect()
}

/// The facts that both tools show of a socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// In tracer's words.
    pub state: String,
    /// Like [`end`].
    pub local: String,
    /// Like [`end`].
    pub remote: String,
    /// Bytes to be read; of a listener, waiting connections.
    pub recv_q: u64,
    /// Bytes to be sent; of a listener, the most that may wait.
    pub send_q: u64,
    /// 0 for none.
    pub inode: u64,
    /// Its holders.
    pub pids: BTreeSet<u64>,
}

/// An end in the notation of ss, in one form: `any` for all addresses, IPv4 where it is mapped.
#[must_use]
pub fn end(text: &str) -> String {
    let (addr, port) = text.rsplit_once(':').unwrap();
    let port = if port == "*" { "0" } else { port };
    let addr = addr.split('%').next().unwrap().trim_matches(['[', ']']);
    match addr.parse::<IpAddr>() {
        Ok(addr) if !addr.is_unspecified() => format!("{}:{port}", addr.to_canonical()),
        _ => format!("any:{port}"),
    }
}

/// Its holders according to ss.
#[must_use]
pub fn pids_of_ss(line: &str) -> BTreeSet<u64> {
    line.split("pid=").skip(1).map(|rest| rest.split(',').next().unwrap().parse().unwrap()).collect()
}

/// The rest of the word that begins with `key`.
#[must_use]
pub fn after<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(key))
}

/// The lines of `ss -e`; for a socket without a file ss shows no `ino:`, or 0.
#[must_use]
pub fn ss_lines(text: &str) -> BTreeSet<Line> {
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

/// Its holders according to tracer.
#[must_use]
pub fn our_pids(row: &Value) -> BTreeSet<u64> {
    // ss does not show the owner of a connection before accept().
    if row["owner_source"] != "fd" {
        return BTreeSet::new();
    }
    let others = row["holders"].as_array().into_iter().flatten();
    row["owner"]["pid"].as_u64().into_iter().chain(others.filter_map(Value::as_u64)).collect()
}

/// The line of one of tracer's objects.
#[must_use]
pub fn our_line(row: &Value) -> Line {
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

/// The lines of all of them.
#[must_use]
pub fn our_lines(rows: &[Value]) -> BTreeSet<Line> {
    rows.iter().map(our_line).collect()
}

/// Compares two sets.
///
/// # Panics
/// If they differ, with the differences.
#[track_caller]
pub fn same<T: Ord + std::fmt::Debug>(ours: &BTreeSet<T>, theirs: &BTreeSet<T>) {
    let only =
        |a: &BTreeSet<T>, b: &BTreeSet<T>| -> Vec<String> { a.difference(b).map(|x| format!("{x:?}")).collect() };
    assert!(
        ours == theirs,
        "only tracer:\n{}\nonly the other:\n{}",
        only(ours, theirs).join("\n"),
        only(theirs, ours).join("\n")
    );
}
