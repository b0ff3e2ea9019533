//! The whole answer: the causes that concern what the user asks about, what has none, and how well the rest went.

use tracer_stream::{Diagnosis, Health, Party, Role, Severity};

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
        let unexplained: Vec<&Conn> = scene
            .conns
            .failed()
            .chain(scene.conns.open())
            .filter(|conn| is_open_question(conn, &claims, &meant))
            .collect();
        let host = scene.host();
        let mut gaps = host.gaps.clone();
        if host.omitted > 0 {
            gaps.push(format!(
                "{} of the host found no room in the survey",
                counted(host.omitted, "socket or process")
            ));
        }
        let untold = scene.untold + scene.conns.untold + scene.drops.untold;
        if untold > 0 {
            gaps.push(format!("{} found no room: too many different ones", counted(untold, "piece of evidence")));
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
