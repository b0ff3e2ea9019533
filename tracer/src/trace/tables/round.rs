//! One round: explains the drops of each namespace that is asked for. The cheapest namespace comes first, and none gets
//! more than its share of a round; the next round asks for the rest again.

use std::time::Duration;

use log::debug;
use tracer_rules::hint::{self, Conntrack, Hint, Open, Question, Tables};
use tracer_rules::netfilter::{Packet, Places, RuleSet};

use super::{
    Found,
    attached::Attached,
    memory::{Known, Memory, Rules},
    read::{cannot_read, conntrack_dropped, full_conntrack, has_legacy_tables, has_nftables, why},
};
use crate::{
    clock,
    core::packets::{Asked, Explained},
    netlink::{
        self,
        budget::{Unread, processor_time},
        nftables::Nftables,
    },
    proc::{
        enter::{self, Place, Prefer},
        netns::Netns,
        root::ProcRoot,
    },
};

/// Processor time that a round may take; the last namespace may exceed it by its own share.
const ROUND: Duration = Duration::from_millis(150);
/// Processor time for the drops of one namespace in a round, once its tables are read.
const SHARE: Duration = Duration::from_millis(75);

/// One round.
pub struct Round<'r> {
    root: &'r ProcRoot,
    ended: &'r (dyn Fn() -> bool + Sync),
    found: Found,
}

impl<'r> Round<'r> {
    /// `ended`: whether the trace has ended.
    pub fn new(root: &'r ProcRoot, ended: &'r (dyn Fn() -> bool + Sync)) -> Self {
        Self { root, ended, found: Found::default() }
    }

    /// Answers as many questions as the time allows.
    pub fn run(mut self, mut wanted: Vec<Asked>, memory: &mut Memory) -> Found {
        memory.begin_round();
        wanted.sort_by_key(|asked| memory.spent(asked.netns));
        for asked in wanted {
            if self.found.took > ROUND || (self.ended)() {
                break;
            }
            let netns = asked.netns;
            let took = self.namespace(&asked, memory.of(netns));
            memory.of(netns).spent += took;
            memory.tidy(netns);
            self.found.took += took;
        }
        self.found
    }

    /// Answers the questions of a namespace; returns the processor time that it took.
    fn namespace(&mut self, asked: &Asked, known: &mut Known) -> Duration {
        let netns = Netns { inode: asked.netns, name: None, pid: asked.pid, path: None };
        let root = self.root;
        let ended = self.ended;
        let began = processor_time();
        // Another thread enters the namespace, if it is not this thread's own.
        let read = enter::with(root, &netns, Prefer::Entering, |place| {
            let began = processor_time();
            let mut inside = Inside { root, place, ended, answers: Vec::new(), refused: None };
            inside.answer(asked, known);
            (inside.answers, inside.refused, processor_time().saturating_sub(began))
        });
        let own = processor_time().saturating_sub(began);
        match read {
            Ok(Some((answers, refused, took))) => {
                self.found.answers.extend(answers);
                self.found.refused = self.found.refused.take().or(refused);
                own.max(took)
            }
            // The namespace is gone, and its rules with it.
            Ok(None) => {
                self.found.answers.extend(without_tables(asked));
                own
            }
            Err(error) => {
                debug!("{error}");
                self.found.answers.extend(without_tables(asked));
                self.found.refused = self.found.refused.take().or_else(|| Some(error.to_string()));
                own
            }
        }
    }
}

/// Hints from the packets alone.
fn without_tables(asked: &Asked) -> impl Iterator<Item = Explained> {
    asked.drops.iter().map(|open| (open.number, hint::explain(open, &Tables::default())))
}

/// The inside of a namespace, or the files of a process in it.
struct Inside<'i> {
    root: &'i ProcRoot,
    place: &'i Place,
    ended: &'i (dyn Fn() -> bool + Sync),
    answers: Vec<Explained>,
    refused: Option<String>,
}

impl Inside<'_> {
    fn answer(&mut self, asked: &Asked, known: &mut Known) {
        let of = |question: Question| asked.drops.iter().filter(move |open| open.question == question);
        if self.place.inside {
            // A torn dump is acceptable here.
            if of(Question::Qdiscs).next().is_some() {
                let table = netlink::qdiscs().map(|table| table.rows).inspect_err(cannot_read("qdiscs")).ok();
                let tables = Tables { qdiscs: table.as_deref(), ..Tables::default() };
                self.answers.extend(of(Question::Qdiscs).map(|open| (open.number, hint::explain(open, &tables))));
            }
            if of(Question::Neighbours).next().is_some() {
                let table = netlink::neighbours().map(|table| table.rows).inspect_err(cannot_read("neighbours")).ok();
                let tables = Tables { neighbours: table.as_deref(), ..Tables::default() };
                self.answers.extend(of(Question::Neighbours).map(|open| (open.number, hint::explain(open, &tables))));
            }
            let by_programs = |open: &&Open| Attached::explains(open.question);
            if asked.drops.iter().any(|open| by_programs(&open)) {
                let mut attached = Attached::new(self.root);
                let open = asked.drops.iter().filter(by_programs);
                self.answers.extend(open.map(|open| (open.number, attached.explain(open))));
            }
        } else {
            let others = asked.drops.iter().filter(|open| open.question != Question::Rules);
            self.answers.extend(others.map(|open| (open.number, hint::explain(open, &Tables::default()))));
        }
        let by_rules: Vec<&Open> = of(Question::Rules).collect();
        if !by_rules.is_empty() {
            self.rules(&by_rules, asked.nftables_drops, known);
        }
    }

    fn rules(&mut self, drops: &[&Open], nftables_drops: bool, known: &mut Known) {
        let mut tables = Tables::default();
        if !self.place.inside {
            self.refused = Some(why(&std::io::ErrorKind::PermissionDenied.into()));
            return self.without_rules(drops, nftables_drops, &tables);
        }
        tables.legacy = has_legacy_tables(self.place);
        tables.full_conntrack = full_conntrack(self.place);
        let dropped = conntrack_dropped(self.root, self.place);
        let before = known.conntrack;
        known.conntrack = dropped.map(|dropped| (clock::boot_ns(), dropped));
        // The count since the last look belongs to the first of these packets and later ones.
        let first_ns = drops.iter().map(|open| open.first_ns).min().unwrap_or(0);
        tables.conntrack = match (dropped, before.filter(|(read_ns, _)| *read_ns < first_ns)) {
            (None, _) => Conntrack::Unknown,
            (Some(0), _) => Conntrack::StoodStill,
            (Some(now), Some((_, before))) if now == before => Conntrack::StoodStill,
            (Some(now), Some((_, before))) if now > before => Conntrack::Moved,
            (Some(now), _) => Conntrack::Some(now),
        };
        if !nftables_drops && !has_nftables(self.root) {
            return self.without_rules(drops, nftables_drops, &tables);
        }
        match known.rules(&self.ended) {
            Ok(rules) => {
                self.by_rules(drops, nftables_drops, rules, &tables);
                rules.settle();
            }
            Err(Unread::Ended) => {}
            Err(error) => {
                self.refused = Some(match &error {
                    Unread::Refused(error) => why(error),
                    error => error.to_string(),
                });
                self.without_rules(drops, nftables_drops, &tables);
            }
        }
    }

    fn without_rules(&mut self, drops: &[&Open], nftables_drops: bool, tables: &Tables<'_>) {
        let hint = |open: &Open| hint::explain_rule(open.by(nftables_drops), hint::Rules::None, tables);
        self.answers.extend(drops.iter().map(|open| (open.number, hint(open))));
    }

    fn by_rules(&mut self, drops: &[&Open], nftables_drops: bool, rules: &mut Rules, tables: &Tables<'_>) {
        let set = match &rules.set {
            Ok(set) => set,
            Err(why) => {
                let hint = |open: &Open| hint::explain_rule(open.by(nftables_drops), hint::Rules::Unread(why), tables);
                return self.answers.extend(drops.iter().map(|open| (open.number, hint(open))));
            }
        };
        let began = processor_time();
        for open in drops {
            if (self.ended)() || processor_time().saturating_sub(began) > SHARE {
                // The rest comes in the next round.
                return;
            }
            let (by, packet) = (open.by(nftables_drops), Packet(&open.record));
            rules.counters.of(open.first_ns);
            let mut places = set.places(packet, by, &rules.counters);
            if places.asks_for_counters() {
                read_counters(set, &places, &mut rules.counters);
                places = set.places(packet, by, &rules.counters);
            }
            let hint: Option<Hint> = hint::explain_rule(by, hint::Rules::Places(&places), tables);
            self.answers.push((open.number, hint));
        }
    }
}

/// Reads the counters that would narrow the choice. A counter that cannot be read stays unread.
fn read_counters(set: &RuleSet, places: &Places, counters: &mut tracer_rules::netfilter::Counters) {
    let Ok(mut nftables) = Nftables::open() else { return };
    for id in places.unread.iter().copied() {
        let Some(name) = set.name(id).filter(|_| !counters.knows(id)) else { continue };
        if let Ok(Some(packets)) = nftables.counter(&name) {
            counters.read([(id, packets)].into_iter());
        }
    }
}
