//! The whole answer: the causes that concern what the user asks about, what has none, and how well the rest went.

use std::collections::HashSet;

use tracer_stream::{Cause, Diagnosis, Health, Party, Role, Severity};

use super::{
    Causes,
    claims::Claims,
    scene::{Conn, Flow, Scene},
    words::{counted, end},
};
use crate::what::{Meant, What};

/// The least share of one CPU that is worth a word.
const BUSY: f64 = 0.5;

impl Causes {
    /// The answer for `words`; without any, for the whole host.
    #[must_use]
    pub fn diagnosis(&self, words: &[What]) -> Diagnosis {
        let scene = &self.scene;
        let meant = Meant::of(words, scene);
        let (all, claims) = self.drawn();
        let (mut causes, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|cause| meant.matches(cause, scene.host()));
        for (rank, cause) in (1..).zip(&mut causes) {
            cause.rank = rank;
        }
        let elsewhere = others.iter().filter(|cause| cause.severity < Severity::Harmless).count();
        let known: HashSet<&str> = causes.iter().filter_map(certain_peer).collect();
        let unexplained: Vec<&Conn> = scene
            .conns
            .failed()
            .chain(scene.conns.open())
            .filter(|conn| is_open_question(conn, &claims, &meant))
            // What else fails there may follow from it, and the cause has to be mended first.
            .filter(|conn| !known.contains(end(conn.ends.raddr, conn.ends.rport).as_str()))
            .collect();
        let host = scene.host();
        let mut gaps = host.gaps.clone();
        if host.omitted > 0 {
            gaps.push(format!("{} sockets or processes of the host found no room in the survey", host.omitted));
        }
        let untold = scene.untold + scene.waits.untold + scene.reads.untold + scene.conns.untold + scene.drops.untold;
        if untold > 0 {
            gaps.push(format!("{} found no room: too many different ones", counted(untold, "event")));
        }
        Diagnosis {
            causes,
            elsewhere: u64::try_from(elsewhere).unwrap_or(u64::MAX),
            unexplained: u64::try_from(unexplained.len()).unwrap_or(u64::MAX),
            example: unexplained.first().map(|conn| in_words(conn)),
            health: health(scene, &meant),
            gaps,
            remarks: meant.unknown().map(unknown).collect(),
        }
    }
}

/// The other end of the connections that fail, if the cause is certain.
fn certain_peer(cause: &Cause) -> Option<&str> {
    let is = cause.certain && cause.severity == Severity::Failure;
    cause.peer.as_deref().or(cause.place.listener.as_deref()).filter(|_| is)
}

/// Whether a connection of a client failed, or waits for an answer, and no cause explains it.
fn is_open_question(conn: &Conn, claims: &Claims, meant: &Meant) -> bool {
    let fails = match &conn.close {
        Some(close) => close.is_failure(),
        None => !conn.older && conn.established_ns.is_none() && conn.syn_retransmits > 0,
    };
    let is_probe = || conn.ends.laddr.zip(conn.ends.raddr).is_some_and(|(from, to)| claims.is_probe(from, to));
    let is_meant = || meant.is_everything() || conn.owner.as_ref().is_some_and(|by| meant.process(by.pid, &by.comm));
    conn.role == Role::Client && fails && !claims.has_conn(conn.id) && !is_probe() && is_meant()
}

fn in_words(conn: &Conn) -> String {
    let who = conn.owner.as_ref().map_or_else(|| "a process".to_owned(), Party::to_string);
    let to = end(conn.ends.raddr, conn.ends.rport);
    match &conn.close {
        Some(close) if close.unanswered == Some(true) => format!("{who} to {to}: closed without an answer"),
        Some(close) => format!("{who} to {to}: {}", close.verdict.name()),
        None => format!("{who} to {to} waits for an answer"),
    }
}

fn unknown(what: &What) -> String {
    let text = &what.text;
    if what.is_name {
        let addresses = if what.addrs.is_empty() { "" } else { ", and no connection goes to its addresses" };
        format!("no process, container, namespace or unit is called {text}{addresses}")
    } else {
        format!("no namespace of this host has the address {text}, and no connection goes there")
    }
}

fn health(scene: &Scene, meant: &Meant) -> Health {
    let mut sum = Flow::default();
    for (key, flow) in scene.flows.all() {
        if meant.flow(key, scene) {
            sum.add(flow);
        }
    }
    if meant.is_everything() {
        sum.add(&scene.flows.others);
    }
    let open = scene.conns.open().filter(|conn| conn.older && conn.role == Role::Client);
    let is_meant =
        |conn: &&Conn| meant.is_everything() || conn.owner.as_ref().is_some_and(|by| meant.process(by.pid, &by.comm));
    Health {
        opened: sum.connections - sum.older,
        answered: sum.answered,
        failed: sum.failed,
        slowest_us: sum.slowest_us,
        served: scene.flows.served(|netns, comm| meant.server(netns, comm)),
        older: u64::try_from(open.filter(is_meant).count()).unwrap_or(u64::MAX),
        busy: if meant.is_everything() { None } else { busy(scene, meant) },
    }
}

/// The process that used most of the CPU time between the first and the last survey, if that is worth a word.
fn busy(scene: &Scene, meant: &Meant) -> Option<(String, f64)> {
    let (first, last) = (scene.first.as_ref()?, scene.last.as_ref()?);
    let ms = last.boot_ns.saturating_sub(first.boot_ns) / 1_000_000;
    let shares =
        last.processes.iter().filter(|process| meant.process(process.pid, &process.comm)).filter_map(|process| {
            let before = first.process(process.pid).filter(|before| before.start_ns == process.start_ns)?;
            let used = process.cpu_ms?.saturating_sub(before.cpu_ms?);
            (ms > 0).then(|| (format!("{}[{}]", process.comm, process.pid), used as f64 / ms as f64))
        });
    shares.max_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, share)| *share >= BUSY)
}

#[cfg(test)]
mod tests {
    use tracer_stream::{Close, ConnId, Event, Kind, Segment, Socket, TcpState, Verdict, sample};

    use super::*;
    use crate::causes::survey::{Survey, SurveyProcess};

    const S: u64 = 1_000_000_000;

    /// Says events of connections of `shop`, one a number.
    struct Shop(Causes);

    impl Shop {
        fn say(&mut self, conn: u64, kind: Kind<'_>) {
            let owner = sample::owner("shop", 10);
            let socket = Socket { conn: ConnId(conn), owner: Some(&owner), ..sample::SOCKET };
            self.0.event(&Event { boot_ns: 1, socket: Some(socket), kind });
        }

        fn of(&self, word: &str) -> Diagnosis {
            self.0.diagnosis(&word.parse().into_iter().collect::<Vec<What>>())
        }
    }

    fn shop() -> Shop {
        Shop(Causes::new(0))
    }

    fn close(verdict: Verdict) -> Close {
        let connect_us = (!verdict.is_failure()).then_some(70);
        Close { verdict, connect_us, ..sample::CLOSE }
    }

    #[test]
    fn what_ended_well_is_counted_and_its_slowest_handshake_kept() {
        let mut shop = shop();
        for (conn, connect_us) in [(1, 70), (2, 2100), (3, 80)] {
            let close = Close { connect_us: Some(connect_us), ..close(Verdict::ClosedLocal) };
            shop.say(conn, Kind::Close(&close));
        }
        shop.say(4, Kind::Close(&Close { preexisting: true, ..close(Verdict::ClosedLocal) }));
        let health = shop.of("").health;
        assert_eq!((health.opened, health.answered, health.failed, health.slowest_us), (3, 3, 0, 2100));
        assert_eq!(shop.of("shop").health.opened, 3);
        assert_eq!(shop.of("other").health.opened, 0);
        assert_eq!(shop.of("").unexplained, 0);
    }

    #[test]
    fn a_failure_without_a_cause_is_an_open_question() {
        let mut shop = shop();
        shop.say(1, Kind::Connect { errno: None });
        assert_eq!(shop.of("").unexplained, 0, "it has just begun");
        shop.say(1, Kind::Retransmit { what: Segment::Syn, state: Some(TcpState::SynSent), seq: None });
        assert_eq!((shop.of("").unexplained, shop.of("").causes.len()), (0, 1), "silence is a cause");
        shop.say(2, Kind::Connect { errno: None });
        shop.say(2, Kind::Close(&close(Verdict::Aborted)));
        let ended = shop.of("shop");
        assert_eq!((ended.unexplained, ended.example.as_deref()), (1, Some("shop[10] to 10.0.0.5:443: aborted")));
        assert_eq!(shop.of("other").unexplained, 0, "of others");
    }

    #[test]
    fn what_is_open_at_the_end_stays_open() {
        let mut shop = shop();
        shop.say(1, Kind::Open { state: TcpState::Established });
        shop.say(2, Kind::Connect { errno: None });
        shop.say(2, Kind::Established { connect_us: Some(9) });
        shop.say(1, Kind::Close(&Close { preexisting: true, connect_us: None, ..close(Verdict::OpenAtEnd) }));
        shop.say(2, Kind::Close(&Close { connect_us: Some(9), ..close(Verdict::OpenAtEnd) }));
        let health = shop.of("").health;
        assert_eq!((health.older, health.opened, health.answered, health.slowest_us), (1, 1, 1, 9));
        assert_eq!(shop.0.scene().conns.open().count(), 2);
    }

    #[test]
    fn the_cpu_time_of_the_program_is_that_between_the_surveys() {
        let survey = |boot_ns, cpu_ms| Survey {
            boot_ns,
            processes: vec![
                SurveyProcess { pid: 10, comm: "shop".into(), cpu_ms: Some(cpu_ms), ..SurveyProcess::default() },
                SurveyProcess { pid: 11, comm: "idle".into(), cpu_ms: Some(7), ..SurveyProcess::default() },
            ],
            ..Survey::default()
        };
        let mut shop = shop();
        shop.0.survey(survey(S, 500));
        assert_eq!(shop.of("shop").health.busy, None, "one survey");
        shop.0.survey(survey(11 * S, 500 + 9_700));
        assert_eq!(shop.of("shop").health.busy, Some(("shop[10]".to_owned(), 0.97)));
        assert_eq!(shop.of("idle").health.busy, None);
        assert_eq!(shop.of("").health.busy, None, "of the whole host");
    }

    #[test]
    fn gaps_of_the_evidence_are_said() {
        let mut shop = shop();
        shop.0.survey(Survey { gaps: vec!["x".to_owned()], omitted: 2, ..Survey::default() });
        assert_eq!(shop.of("").gaps, ["x", "2 sockets or processes of the host found no room in the survey"]);
    }
}
