//! What a drop's reason leaves open: which rule, which queueing discipline, which destination.
//!
//! Some of it the packet tells itself. For the rest the tables of its namespace are read at a moment
//! after the drop ([`Tables`]); what can be excluded is, and what remains is said to be one of several
//! if it is. Pure: the same packet and the same tables give the same hint.

mod filter;
mod neighbour;
mod qdisc;
mod route;
#[cfg(test)]
mod tests;

use tracer_common::drops::DropRecord;

pub use crate::stream::Hint;
use crate::{
    netfilter::{By, Counters, Packet, RuleSet},
    netlink::{neigh::Neighbour, qdisc::Qdisc},
    stream::Drop,
};

/// A table that has to be read before a drop can be explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The rules of nftables.
    Rules,
    /// The queueing disciplines.
    Qdiscs,
    /// The neighbours.
    Neighbours,
}

/// Which tables of a namespace are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Questions {
    /// See [`Question`].
    pub rules: bool,
    /// See [`Question`].
    pub qdiscs: bool,
    /// See [`Question`].
    pub neighbours: bool,
}

impl Questions {
    /// One more.
    pub const fn add(&mut self, question: Question) {
        match question {
            Question::Rules => self.rules = true,
            Question::Qdiscs => self.qdiscs = true,
            Question::Neighbours => self.neighbours = true,
        }
    }
}

/// What was read of a namespace; `None` for what was not asked for or could not be read.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Its inode number.
    pub netns: u32,
    /// When reading began, `CLOCK_BOOTTIME` ns: what was dropped later is not explained by it.
    pub began_ns: u64,
    /// When it was done.
    pub ended_ns: u64,
    /// What was read, or tried to.
    pub asked: Questions,
    /// The rules of nftables.
    pub rules: Option<RuleSet>,
    /// Tables of iptables-legacy are in use: their rules are not among `rules`.
    pub legacy: bool,
    /// The conntrack table is full: it drops, too.
    pub conntrack_full: bool,
    /// Queueing disciplines.
    pub qdiscs: Option<Vec<Qdisc>>,
    /// Neighbours.
    pub neighbours: Option<Vec<Neighbour>>,
}

/// A function of the kernel, without the offset in it and what the compiler added to its name.
fn function(symbol: Option<&str>) -> &str {
    symbol.map_or("", |symbol| symbol.split(['+', '.']).next().unwrap_or_default())
}

/// The reason says nothing, or there is none: then the call site stands for it.
fn is_by_site(drop: &Drop) -> bool {
    matches!(drop.reason.as_deref(), None | Some("NOT_SPECIFIED"))
}

/// The table that explains `drop`; `None` if none would.
#[must_use]
pub fn question(drop: &Drop) -> Option<Question> {
    // Of several packets that need not be equal nothing more is known.
    if drop.mixed {
        return None;
    }
    if filter::is_netfilter(drop) {
        // An IP packet: of others no hook is known.
        return drop.ends.map(|_| Question::Rules);
    }
    if qdisc::is_qdisc(drop) {
        return Some(Question::Qdiscs);
    }
    neighbour::is_neighbour(drop).then_some(Question::Neighbours)
}

/// What the packet tells by itself, without any table.
#[must_use]
pub fn by_itself(drop: &Drop) -> Option<Hint> {
    if drop.mixed { None } else { filter::by_itself(drop).or_else(|| route::by_itself(drop)) }
}

/// What is known of rules and drops in this run, besides the tables.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'k> {
    /// In this kernel nftables drops by itself: it was seen to.
    pub nftables_drops: bool,
    /// What the counters of rules said before the drop.
    pub counters: Option<&'k Counters>,
}

/// What `tables` tell of a drop. Without what is needed of them, what the packet tells.
#[must_use]
pub fn explain(drop: &Drop, record: &DropRecord, tables: &Tables, known: Known<'_>) -> Option<Hint> {
    match question(drop)? {
        Question::Rules => {
            let by = match function(drop.symbol.as_deref()) {
                "nft_do_chain" => By::Nftables,
                _ if known.nftables_drops => By::Other,
                _ => By::Anything,
            };
            filter::explain(Packet(record), by, tables, known.counters)
        }
        Question::Qdiscs => qdisc::explain(drop, record.ifindex, tables.qdiscs.as_deref()?),
        Question::Neighbours => neighbour::explain(drop, record.ifindex, tables.neighbours.as_deref()),
    }
}
