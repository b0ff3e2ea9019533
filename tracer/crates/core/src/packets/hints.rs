//! Drops that wait for their hint.
//!
//! The owner of a packet is decided when its record comes; only the event waits, until another thread has read the
//! tables of its namespace after the drop and has found the hint in them. The event then comes after events that are
//! later.

use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use tracer_common::drops::DropRecord;
use tracer_rules::hint::{self, Hint, Open, Question, Site};
use tracer_stream::{Drop, Event, Sink};

use super::{Correlation, Gate, PacketEvent, attribution::Outside, index::Ended};

/// The most drops that wait; above it, the oldest of the namespace with the most of them is emitted without a hint.
const MOST_WAITING: usize = 256;

/// The question of a drop, to be answered before its event.
#[derive(Clone, Debug)]
pub struct Wish {
    question: Question,
    record: Box<DropRecord>,
}

impl Wish {
    /// The question of a drop, if it has one.
    pub fn of(drop: &Drop, record: &DropRecord) -> Option<Box<Self>> {
        // Without a namespace nothing can be read.
        let question = hint::question(&Site::from(drop)).filter(|_| record.netns != 0)?;
        Some(Box::new(Self { question, record: Box::new(*record) }))
    }
}

/// The owner of a waiting drop, as it was at the drop.
pub enum Whose {
    /// A connection.
    Connection(Rc<Ended>),
    /// Not a connection that the core follows.
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
    number: u64,
    boot_ns: u64,
    whose: Whose,
    drop: Box<Drop>,
    wish: Box<Wish>,
}

/// Wanted hints of a namespace.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The namespace.
    pub netns: u32,
    /// A process that may be in it.
    pub pid: Option<u32>,
    /// nftables was seen to drop by itself in this kernel.
    pub nftables_drops: bool,
    /// The drops.
    pub drops: Vec<Open>,
}

/// The hint of the drop with this number; `None` if there is none.
pub type Explained = (u64, Option<Hint>);

/// See the module.
#[derive(Default)]
pub struct Hints {
    /// By their numbers.
    waiting: VecDeque<Waiting>,
    /// Number of waiting drops by namespace.
    of_netns: HashMap<u32, usize>,
    last: u64,
    /// nftables was seen to drop by itself.
    nftables_drops: bool,
    /// Drops emitted without their hint: too many waited, the trace ended, or a limit was reached.
    given_up: u64,
}

impl Hints {
    /// Emits a packet's event, now or once its question is answered.
    pub fn tell(&mut self, boot_ns: u64, whose: Whose, event: PacketEvent, sink: &mut dyn Sink) {
        match event {
            PacketEvent::Drop(drop, Some(wish)) => {
                if wish.question == Question::Rules
                    && drop.symbol.as_deref().is_some_and(|at| at.starts_with("nft_do_chain"))
                {
                    self.nftables_drops = true;
                }
                if self.waiting.len() >= MOST_WAITING {
                    self.give_one_up(sink);
                }
                self.last += 1;
                *self.of_netns.entry(wish.record.netns).or_default() += 1;
                self.waiting.push_back(Waiting { number: self.last, boot_ns, whose, drop, wish });
            }
            event => whose.tell(boot_ns, &event, sink),
        }
    }

    /// Gives up the oldest drop of the namespace with the most: a flood in one namespace delays no other.
    fn give_one_up(&mut self, sink: &mut dyn Sink) {
        let most = self.of_netns.iter().max_by_key(|(netns, count)| (**count, **netns)).map(|(netns, _)| *netns);
        let at = self.waiting.iter().position(|waiting| Some(waiting.wish.record.netns) == most);
        if let Some(waiting) = at.and_then(|at| self.waiting.remove(at)) {
            self.forget(&waiting);
            self.given_up += 1;
            waiting.tell(None, sink);
        }
    }

    fn forget(&mut self, waiting: &Waiting) {
        let netns = waiting.wish.record.netns;
        if let Some(count) = self.of_netns.get_mut(&netns) {
            *count -= 1;
            if *count == 0 {
                self.of_netns.remove(&netns);
            }
        }
    }

    /// The hints that drops wait for.
    pub fn wanted(&self) -> Vec<Asked> {
        let mut at = HashMap::new();
        let mut wanted: Vec<Asked> = Vec::new();
        for Waiting { number, wish, whose, drop, .. } in &self.waiting {
            let netns = wish.record.netns;
            let at = *at.entry(netns).or_insert_with(|| {
                let nftables_drops = self.nftables_drops;
                wanted.push(Asked { netns, pid: None, nftables_drops, drops: Vec::new() });
                wanted.len() - 1
            });
            if let Some(asked) = wanted.get_mut(at) {
                asked.pid = asked.pid.or_else(|| whose.owner());
                asked.drops.push(Open::new(*number, wish.question, whose.owner(), drop, &wish.record));
            }
        }
        wanted
    }

    /// Whether a drop waits.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Drops emitted without the hint that they waited for.
    pub const fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Emits the drops that these answers are for; the others go on waiting.
    pub fn learn(&mut self, answers: Vec<Explained>, sink: &mut dyn Sink) {
        for (number, hint) in answers {
            let at = self.waiting.binary_search_by_key(&number, |waiting| waiting.number);
            // The drop may have been given up meanwhile.
            if let Some(waiting) = at.ok().and_then(|at| self.waiting.remove(at)) {
                self.forget(&waiting);
                self.given_up += u64::from(hint.as_ref().is_some_and(|hint| hint.undecided));
                waiting.tell(hint, sink);
            }
        }
    }

    /// Emits all waiting drops: no more answers will come.
    pub fn give_up(&mut self, sink: &mut dyn Sink) {
        self.of_netns.clear();
        for waiting in self.waiting.drain(..) {
            self.given_up += 1;
            waiting.tell(None, sink);
        }
    }
}

impl Waiting {
    fn tell(mut self, hint: Option<Hint>, sink: &mut dyn Sink) {
        if let Some(hint) = hint {
            self.drop.hint = Some(Box::new(hint));
        }
        self.whose.tell(self.boot_ns, &PacketEvent::Drop(self.drop, None), sink);
    }
}

impl<G: Gate> Correlation<G> {
    /// Whether drops wait for their hints.
    pub(crate) fn waits_for_hints(&self) -> bool {
        self.packets.hints.is_waiting()
    }

    /// The hints that drops wait for.
    pub(crate) fn wanted_hints(&self) -> Vec<Asked> {
        self.packets.hints.wanted()
    }

    /// Drops emitted without the hint that they waited for.
    #[must_use]
    pub const fn hints_given_up(&self) -> u64 {
        self.packets.hints.given_up()
    }
}
