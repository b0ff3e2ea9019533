//! Drops that wait for what explains them.
//!
//! Whose a packet was is decided when its record comes; only its telling waits, until the tables of its
//! namespace were read at a moment after the drop. It is told after events that are later, then.

use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use tracer_common::drops::DropRecord;

use super::{Core, Gate, PacketEvent, attribution::Outside, index::Ended};
use crate::{
    hint::{self, Known, Question, Questions, Tables},
    netfilter::Counters,
    stream::{Drop, Event, Sink},
};

/// Drops that wait at the most; beyond that the oldest is told as it is.
const MOST_WAITING: usize = 256;
/// Namespaces that are asked for at once.
const MOST_ASKED: usize = 32;
/// Namespaces whose counters are remembered.
const MOST_COUNTERS: usize = 64;

/// What a drop wants to know before it is told.
#[derive(Clone, Debug)]
pub struct Wish {
    question: Question,
    record: Box<DropRecord>,
}

impl Wish {
    /// That of a drop, if it has one.
    pub fn of(drop: &Drop, record: &DropRecord) -> Option<Box<Self>> {
        // Without a namespace nothing can be read.
        let question = hint::question(drop).filter(|_| record.netns != 0)?;
        Some(Box::new(Self { question, record: Box::new(*record) }))
    }
}

/// Whose a waiting drop is, as it was at the drop.
pub enum Whose {
    /// A connection's.
    Connection(Rc<Ended>),
    /// Nobody's that is followed.
    Outside(Box<Outside>),
}

impl Whose {
    fn owner(&self) -> Option<u32> {
        match self {
            Self::Connection(ended) => ended.socket().owner.map(|owner| owner.pid),
            Self::Outside(outside) => outside.socket(false).owner.map(|owner| owner.pid),
        }
    }

    fn tell(&self, boot_ns: u64, event: &PacketEvent, sink: &mut dyn Sink) {
        let socket = match self {
            Self::Connection(ended) => Some(ended.socket()),
            Self::Outside(outside) => outside.is_known().then(|| outside.socket(false)),
        };
        sink.event(&Event { boot_ns, socket: socket.map(|socket| event.socket(socket)), kind: event.kind() });
    }
}

struct Waiting {
    boot_ns: u64,
    whose: Whose,
    drop: Box<Drop>,
    wish: Box<Wish>,
}

/// Tables that are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Of this namespace.
    pub netns: u32,
    /// A process that may be in it.
    pub pid: Option<u32>,
    /// Which.
    pub questions: Questions,
    /// This kernel has nftables: it was seen to drop.
    pub nftables: bool,
}

/// See the module.
#[derive(Default)]
pub struct Hints {
    waiting: VecDeque<Waiting>,
    /// By namespace: when they were read, and what they said.
    counters: HashMap<u32, (u64, Counters)>,
    /// nftables was seen to drop by itself.
    nftables_drops: bool,
}

impl Hints {
    /// Tells a packet's event now, or when what it wants to know is there.
    pub fn tell(&mut self, boot_ns: u64, whose: Whose, event: PacketEvent, sink: &mut dyn Sink) {
        match event {
            PacketEvent::Drop(drop, Some(wish)) => {
                if wish.question == Question::Rules
                    && drop.symbol.as_deref().is_some_and(|at| at.starts_with("nft_do_chain"))
                {
                    self.nftables_drops = true;
                }
                if self.waiting.len() >= MOST_WAITING
                    && let Some(oldest) = self.waiting.pop_front()
                {
                    oldest.tell(None, sink);
                }
                self.waiting.push_back(Waiting { boot_ns, whose, drop, wish });
            }
            event => whose.tell(boot_ns, &event, sink),
        }
    }

    /// Which tables are wanted.
    pub fn wanted(&self) -> Vec<Asked> {
        let mut wanted: Vec<Asked> = Vec::new();
        for Waiting { wish, whose, .. } in &self.waiting {
            let netns = wish.record.netns;
            let at = match wanted.iter().position(|asked| asked.netns == netns) {
                Some(at) => at,
                None if wanted.len() == MOST_ASKED => continue,
                None => {
                    let nftables = self.nftables_drops;
                    wanted.push(Asked { netns, pid: None, questions: Questions::default(), nftables });
                    wanted.len() - 1
                }
            };
            if let Some(asked) = wanted.get_mut(at) {
                asked.questions.add(wish.question);
                asked.pid = asked.pid.or_else(|| whose.owner());
            }
        }
        wanted
    }

    /// Whether a drop waits.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Tells what waited for these tables. What was dropped after they were read goes on waiting.
    pub fn learn(&mut self, tables: &Tables, sink: &mut dyn Sink) {
        let nftables_drops = self.nftables_drops;
        let known = self.counters.get(&tables.netns);
        let mut waits = VecDeque::with_capacity(self.waiting.len());
        for waiting in self.waiting.drain(..) {
            let asked = match waiting.wish.question {
                Question::Rules => tables.asked.rules,
                Question::Qdiscs => tables.asked.qdiscs,
                Question::Neighbours => tables.asked.neighbours,
            };
            if waiting.wish.record.netns == tables.netns && asked && waiting.boot_ns <= tables.began_ns {
                // Of several packets the first counts: the counters are of before all of them.
                let first_ns = waiting.wish.record.first_ns.min(waiting.boot_ns);
                let counters = known.filter(|(at, _)| *at < first_ns).map(|(_, counters)| counters);
                waiting.tell(Some((tables, Known { nftables_drops, counters })), sink);
            } else {
                waits.push_back(waiting);
            }
        }
        self.waiting = waits;
        if let Some(rules) = &tables.rules {
            if self.counters.len() >= MOST_COUNTERS && !self.counters.contains_key(&tables.netns) {
                self.counters.clear();
            }
            self.counters.insert(tables.netns, (tables.ended_ns, rules.counters()));
        }
    }

    /// Nothing more will be learnt.
    pub fn give_up(&mut self, sink: &mut dyn Sink) {
        for waiting in self.waiting.drain(..) {
            waiting.tell(None, sink);
        }
    }
}

impl Waiting {
    fn tell(mut self, tables: Option<(&Tables, Known<'_>)>, sink: &mut dyn Sink) {
        self.drop.hint = tables
            .and_then(|(tables, known)| hint::explain(&self.drop, &self.wish.record, tables, known))
            .map(Box::new);
        self.whose.tell(self.boot_ns, &PacketEvent::Drop(self.drop, None), sink);
    }
}

impl<G: Gate> Core<G> {
    /// Whether drops wait for tables.
    #[must_use]
    pub fn waits_for_tables(&self) -> bool {
        self.packets.hints.is_waiting()
    }

    /// The tables that drops wait for: what is read of them comes as `Input::Tables`.
    #[must_use]
    pub fn wanted_tables(&self) -> Vec<Asked> {
        self.packets.hints.wanted()
    }
}
