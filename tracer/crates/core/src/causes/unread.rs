//! A process does not read what its TCP connections bring, reads it in bursts or slowly: the writer has to wait.

use std::collections::{BTreeMap, HashMap};

use tracer_stream::{Cause, Party, Place, Severity, TcpState};

use super::{
    claims::Claims,
    scene::{Read, Scene},
    survey::{SurveySocket, Transport},
    words::{add, bytes, counted, end, inside, names, percent, seconds},
};

/// So many unread bytes are more than a process lies behind by chance.
const MANY: u32 = 32_768;
/// The shortest time without a read, ns. Three surveys a second apart take a little less.
const PATIENCE_NS: u64 = 1_900_000_000;
/// The least share of the time for which a writer waits that is worth a word.
const WAITS: f64 = 0.2;
/// A process that reads more bytes a second is busy.
const BUSY: u64 = 10_000_000;

/// How a process reads, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    Never,
    Bursts,
    Slowly,
}

/// The connections that one process reads in one way.
type Case<'s> = Vec<(&'s SurveySocket, &'s Read)>;

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let mut cases: BTreeMap<(u32, How), Case<'_>> = BTreeMap::new();
    // What a process itself waits to get rid of: the most of one connection.
    let mut unsent: HashMap<u32, &SurveySocket> = HashMap::new();
    for socket in scene.host().sockets.iter().filter(|socket| is_connection(socket)) {
        let Some(pid) = socket.pids.first().copied() else { continue };
        if socket.send_q >= MANY && unsent.get(&pid).is_none_or(|known| known.send_q < socket.send_q) {
            unsent.insert(pid, socket);
        }
        let Some(read) = scene.reads.get(socket) else { continue };
        if let Some(how) = how(read).filter(|_| !has_cause(scene, claims, socket)) {
            cases.entry((pid, how)).or_default().push((socket, read));
        }
    }
    let mut found = Vec::new();
    for ((pid, how), case) in cases {
        for (socket, _) in &case {
            claims.unread(socket.netns, socket.lport);
            for conn in ends(socket).into_iter().filter_map(|tuple| scene.conn_of(tuple)) {
                claims.conn(conn.id);
            }
        }
        found.extend(cause(scene, pid, how, &case, unsent.get(&pid).copied()));
    }
    found
}

fn is_connection(socket: &SurveySocket) -> bool {
    socket.transport == Transport::Tcp && socket.state != TcpState::Listen
}

/// Both ends of a connection, as each of them sees it.
const fn ends(socket: &SurveySocket) -> [super::scene::Tuple; 2] {
    let (here, there) = ((socket.laddr, socket.lport), (socket.raddr, socket.rport));
    [(here.0, here.1, there.0, there.1), (there.0, there.1, here.0, here.1)]
}

fn has_cause(scene: &Scene, claims: &Claims, socket: &SurveySocket) -> bool {
    let conns = ends(socket).into_iter().filter_map(|tuple| scene.conn_of(tuple));
    claims.has_unread(socket.netns, socket.lport) || conns.into_iter().any(|conn| claims.has_conn(conn.id))
}

/// How the process reads this connection, if that harms.
fn how(read: &Read) -> Option<How> {
    let watched_ns = read.last_ns.saturating_sub(read.first_ns);
    if watched_ns < PATIENCE_NS {
        return None;
    }
    let waits = share(read);
    if read.idle_ns >= PATIENCE_NS && (read.unread >= MANY || read.is_writer_waiting) {
        return Some(How::Never);
    }
    if read.bursts > 1 && read.most >= MANY && waits.is_none_or(|share| share > WAITS) {
        return Some(How::Bursts);
    }
    let is_slow = read.is_writer_waiting && read.most >= MANY && rate(read).is_some_and(|rate| rate < BUSY);
    (is_slow && waits.is_some_and(|share| share > WAITS)).then_some(How::Slowly)
}

/// The share of the time for which the writer waited; `None` if it is on another host, or the kernel does not count it.
fn share(read: &Read) -> Option<f64> {
    let watched_us = read.last_ns.saturating_sub(read.first_ns) / 1000;
    (watched_us > 0).then_some(read.writer_us? as f64 / watched_us as f64)
}

/// Bytes that the process reads in a second.
fn rate(read: &Read) -> Option<u64> {
    let ms = read.last_ns.saturating_sub(read.first_ns) / 1_000_000;
    read.taken?.saturating_mul(1000).checked_div(ms)
}

fn cause(scene: &Scene, pid: u32, how: How, case: &Case<'_>, unsent: Option<&SurveySocket>) -> Option<Cause> {
    let (most, worst) = case.iter().max_by_key(|(_, read)| read.most)?;
    let reader = scene.holder(most)?;
    let mut writers: Vec<Party> = Vec::new();
    for (socket, _) in case {
        let writer = scene.owner_of(Transport::Tcp, socket.raddr, socket.rport, (socket.laddr, socket.lport));
        writer.into_iter().for_each(|party| add(&mut writers, party));
    }
    let all = |of: fn(&Read) -> u32| bytes(case.iter().map(|(_, read)| u64::from(of(read))).sum());
    let longest_ns = |of: fn(&Read) -> u64| case.iter().map(|(_, read)| of(read)).max().unwrap_or(0);
    let (here, there) = (end(Some(most.laddr), Some(most.lport)), end(Some(most.raddr), Some(most.rport)));
    let from = if writers.is_empty() { most.raddr.to_string() } else { names(&writers) };
    let on = if case.len() == 1 {
        format!("on its connection {here} with {there}")
    } else {
        format!("on {}", counted(case.len().try_into().unwrap_or(u64::MAX), "connection"))
    };
    let at = scene.in_netns(Some(most.netns));
    let process = scene.host().process(pid);
    let state = match process.and_then(|process| process.state) {
        Some(state @ ('T' | 't')) => format!(" is stopped (state {state}) and"),
        _ => String::new(),
    };
    let is_waiting = case.iter().any(|(_, read)| read.is_writer_waiting);
    let wait = match (is_waiting, writers.len()) {
        (true, 0) => "; the writer waits".to_owned(),
        (true, 1) => format!("; {from} waits to send more"),
        (true, _) => format!("; {from} wait to send more"),
        (false, _) => String::new(),
    };
    let text = match how {
        How::Never => format!(
            "{reader}{at}{state} does not read: {} from {from} unread for {} or more {on}{wait}",
            all(|read| read.unread),
            seconds(longest_ns(|read| read.idle_ns))
        ),
        How::Bursts => format!(
            "{reader}{at} reads in bursts, and nothing in between for {} or more: up to {} from {from} wait {on}",
            seconds(longest_ns(|read| read.longest_ns)),
            all(|read| read.most)
        ),
        How::Slowly => format!(
            "{reader}{at} reads slowly, {} a second: up to {} from {from} wait {on}{wait}",
            bytes(rate(worst)?),
            all(|read| read.most)
        ),
    };
    let mut evidence = Vec::new();
    let shares = case.iter().filter_map(|(_, read)| share(read));
    if let Some(share) = shares.max_by(f64::total_cmp).filter(|share| *share > 0.0) {
        evidence.push(format!("the reader's window held the writer back for {} of the time", percent(share.min(1.0))));
    }
    if let Some(process) = process {
        let sleeps = process.wchan.as_ref().map_or_else(String::new, |wchan| format!(", sleeps in {wchan}"));
        evidence.push(format!("{reader} is in state {}{sleeps}", process.state.unwrap_or('?')));
    }
    let unsent = unsent.filter(|socket| case.iter().all(|(known, _)| known.inode != socket.inode));
    if let Some(socket) = unsent {
        let to = end(Some(socket.raddr), Some(socket.rport));
        evidence.push(format!("it has {} of its own for {to} that are not acknowledged", bytes(socket.send_q.into())));
    }
    let filter = format!("ss -tnpi sport = :{} and dport = :{}", most.lport, most.rport);
    Some(Cause {
        certain: how == How::Never && is_waiting && unsent.is_none(),
        sufferers: writers,
        culprits: vec![reader],
        place: Place { netns: Some(most.netns), netns_name: Some(scene.netns_name(most.netns)), ..Place::default() },
        peer: Some(there),
        count: case.len().try_into().unwrap_or(u64::MAX),
        evidence,
        next: vec![inside(scene, Some(most.netns), &filter), format!("cat /proc/{pid}/stack")],
        ..Cause::new("unread", Severity::Slow, text)
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use super::super::{
        does_not_read,
        sample::{S, Sample, Told},
        survey::SurveyTcp,
    };
    use super::*;

    /// Surveys a second apart of a server that reads what a client writes: (unread, received so far, µs for which the writer
    /// has waited).
    fn reads(looks: &[(u32, u64, u64)]) -> Sample {
        reads_in(Sample::default(), looks)
    }

    fn reads_in(sample: Sample, looks: &[(u32, u64, u64)]) -> Sample {
        let writer = Told::client("writer", 8);
        let reader = writer.server("reader", 9);
        let mut sample = sample.process("writer", 8).process("reader", 9);
        for (unread, rx, limited) in looks {
            let tcp = SurveyTcp { rwnd_limited_us: Some(*limited), snd_wnd: Some(65_536), ..SurveyTcp::default() };
            sample = sample.surveyed(&writer, tcp);
            sample.survey.sockets.last_mut().unwrap().send_q = if *limited > 0 { 200_000 } else { 0 };
            sample = sample.surveyed(&reader, SurveyTcp { rx_bytes: Some(*rx), ..SurveyTcp::default() });
            sample.survey.sockets.last_mut().unwrap().recv_q = *unread;
            sample = sample.look().later(S);
        }
        sample
    }

    #[test]
    fn a_reader_that_does_not_read_makes_the_writer_wait() {
        let stuck = [(60_000, 70_000, 0), (60_000, 70_000, 900_000), (60_000, 70_000, 1_900_000)];
        let writer = Told::client("writer", 8);
        let sample = reads(&stuck).open(&writer, Some(true)).open(&writer.server("reader", 9), Some(true));
        let (found, claims) = sample.run(causes);
        assert_eq!(
            found[0].text,
            "reader[9] in right does not read: 60 kB from writer[8] unread for 2.0 s or more on its connection \
             10.0.2.1:80 with 10.0.1.1:40000; writer[8] waits to send more"
        );
        assert_eq!((found[0].severity, found[0].certain, found[0].count), (Severity::Slow, true, 1));
        assert_eq!((found[0].culprits[0].pid, found[0].sufferers[0].pid), (9, 8));
        assert_eq!(found[0].evidence[0], "the reader's window held the writer back for 95 % of the time");
        assert_eq!(sample.scene.conns.open().filter(|conn| claims.has_conn(conn.id)).count(), 2);
    }

    #[test]
    fn few_bytes_count_only_if_the_writer_waits() {
        let few = |limited| reads(&[(5_000, 5_000, 0), (5_000, 5_000, limited), (5_000, 5_000, 2 * limited)]);
        assert_eq!(few(900_000).run(causes).0.len(), 1);
        assert!(few(0).run(causes).0.is_empty());
    }

    #[test]
    fn bursts_are_told_from_a_reader_that_never_reads() {
        let looks = [
            (50_000, 50_000, 0),
            (50_000, 50_000, 900_000),
            (0, 90_000, 1_000_000),
            (50_000, 140_000, 1_000_000),
            (50_000, 140_000, 1_900_000),
            (0, 200_000, 2_000_000),
        ];
        let (found, _) = reads(&looks).run(causes);
        let text =
            "reader[9] in right reads in bursts, and nothing in between for 1.0 s or more: up to 50 kB from writer[8]";
        assert!(found[0].text.starts_with(text) && !found[0].certain, "{}", found[0].text);
        let (once, _) = reads(&looks[..3]).run(causes);
        assert!(!once[0].text.contains("bursts"), "once may be a pause: {}", once[0].text);
    }

    #[test]
    fn a_slow_reader_holds_its_writer_back_and_may_be_held_back_itself() {
        let looks = [(90_000, 100_000, 0), (90_000, 200_000, 700_000), (90_000, 300_000, 1_400_000)];
        let onwards = Told { netns: 2, ..Told::client("reader", 9).to("192.0.2.8", 443) };
        let mut sample = Sample::default().surveyed(&onwards, SurveyTcp::default());
        let socket = sample.survey.sockets.last_mut().unwrap();
        (socket.send_q, socket.inode) = (400_000, 7);
        let (found, _) = reads_in(sample, &looks).run(causes);
        assert!(
            found[0].text.starts_with("reader[9] in right reads slowly, 100 kB a second: up to 90 kB from writer[8]")
        );
        assert_eq!(found[0].evidence[2], "it has 400 kB of its own for 192.0.2.8:443 that are not acknowledged");
    }

    #[test]
    fn busy_readers_and_short_looks_are_none() {
        let fast = 50_000_000;
        for looks in [
            // It reads much, and the writer seldom waits.
            &[(90_000, fast, 0), (40_000, 2 * fast, 50_000), (70_000, 3 * fast, 100_000)][..],
            // It reads much, and the writer waits for it.
            &[(90_000, fast, 0), (90_000, 2 * fast, 700_000), (90_000, 3 * fast, 1_400_000)],
            // It reads a little, and the writer does not wait.
            &[(40_000, 50_000, 0), (40_000, 60_000, 0), (40_000, 70_000, 0)],
            &[(60_000, 70_000, 0), (60_000, 70_000, 900_000)],
            &[(60_000, 70_000, 0), (0, 70_000, 0), (0, 70_000, 0)],
        ] {
            assert!(reads(looks).run(causes).0.is_empty(), "{looks:?}");
        }
    }

    #[test]
    fn a_stopped_reader_has_its_cause_already() {
        let mut sample = reads(&[(60_000, 70_000, 0), (60_000, 70_000, 900_000)]);
        sample.survey.processes[1].state = Some('T');
        let sample = sample.look();
        let mut claims = Claims::default();
        assert_eq!(does_not_read::causes(&sample.scene, &mut claims).len(), 1);
        assert!(causes(&sample.scene, &mut claims).is_empty());
    }
}
