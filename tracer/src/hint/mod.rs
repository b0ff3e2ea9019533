//! What a drop's reason leaves open: which rule, which queueing discipline, which destination.
//!
//! Some of it the packet tells itself. For the rest the tables of its namespace are read at a moment
//! after the drop ([`Tables`]); what can be excluded is, and what remains is said to be one of several
//! if it is. Pure: the same packet and the same tables give the same hint.

mod filter;
mod function;
mod neighbour;
mod qdisc;
mod route;
#[cfg(test)]
mod tests;

use tracer_common::drops::{Direction, DropRecord};

pub use crate::stream::Hint;
use crate::{
    netfilter::{By, Places},
    netlink::{neigh::Neighbour, qdisc::Qdisc},
    stream::{Drop, DropClass, PacketEnds},
};

/// Where a packet was dropped, and what is known of the packet.
#[derive(Clone, Copy, Debug)]
pub struct Site<'d> {
    /// Name of the reason; `None` where the kernel gives none.
    pub reason: Option<&'d str>,
    /// The function that dropped it, without what the compiler added to its name; empty if that is not known.
    pub function: &'d str,
    /// Name of the device.
    pub iface: Option<&'d str>,
    /// Which way it went.
    pub direction: Direction,
    /// `None` for what is no IP packet.
    pub ends: Option<PacketEnds>,
    /// Several packets that need not be equal.
    pub mixed: bool,
}

impl<'d> From<&'d Drop> for Site<'d> {
    fn from(drop: &'d Drop) -> Self {
        Self {
            reason: drop.reason.as_deref(),
            function: function(drop.symbol.as_deref()),
            iface: drop.iface.as_deref(),
            direction: drop.direction,
            ends: drop.ends,
            mixed: drop.mixed,
        }
    }
}

impl Site<'_> {
    /// The reason says nothing, or there is none: then the call site stands for it.
    #[must_use]
    pub fn is_by_function(&self) -> bool {
        matches!(self.reason, None | Some("NOT_SPECIFIED"))
    }
}

/// A drop whose hint takes a table, for another thread to find it.
#[derive(Clone, Debug)]
pub struct Open {
    /// By which the answer names it.
    pub number: u64,
    /// What it takes.
    pub question: Question,
    /// When it was dropped; of several the first.
    pub first_ns: u64,
    /// What the kernel side has told.
    pub record: Box<DropRecord>,
    reason: Option<Box<str>>,
    function: Box<str>,
    iface: Option<Box<str>>,
    direction: Direction,
    ends: Option<PacketEnds>,
}

impl Open {
    /// Of a drop for whose hint `question` has to be answered.
    #[must_use]
    pub fn new(number: u64, question: Question, drop: &Drop, record: &DropRecord) -> Self {
        let site = Site::from(drop);
        Self {
            number,
            question,
            first_ns: record.first_ns.min(record.header.boot_ns),
            record: Box::new(*record),
            reason: site.reason.map(Box::from),
            function: site.function.into(),
            iface: site.iface.map(Box::from),
            direction: site.direction,
            ends: site.ends,
        }
    }

    /// Where it was dropped.
    #[must_use]
    pub fn site(&self) -> Site<'_> {
        Site {
            reason: self.reason.as_deref(),
            function: &self.function,
            iface: self.iface.as_deref(),
            direction: self.direction,
            ends: self.ends,
            mixed: false,
        }
    }

    /// Which part of netfilter has dropped it. `nftables_drops`: in this kernel nftables drops by itself, it was seen
    /// to.
    #[must_use]
    pub fn by(&self, nftables_drops: bool) -> By {
        match &*self.function {
            "nft_do_chain" => By::Nftables,
            _ if nftables_drops => By::Other,
            _ => By::Anything,
        }
    }
}

/// A table that has to be read before a drop can be explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The rules of nftables.
    Rules,
    /// The queueing disciplines.
    Qdiscs,
    /// The neighbours.
    Neighbours,
    /// The XDP programs of devices.
    Xdp,
}

/// What a namespace's tables tell, besides the rules of nftables.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tables<'t> {
    /// Tables of iptables-legacy are in use: their rules are not known.
    pub legacy: bool,
    /// The conntrack table is full: it drops, too.
    pub conntrack_full: bool,
    /// What its counters tell.
    pub conntrack: Conntrack,
    /// Devices that have XDP programs: index and the program's number; `None` if that could not be read.
    pub xdp: Option<&'t [(u32, u32)]>,
    /// Queueing disciplines; `None` if they could not be read.
    pub qdiscs: Option<&'t [Qdisc]>,
    /// Neighbours; the same.
    pub neighbours: Option<&'t [Neighbour]>,
}

/// Whether connection tracking itself may have dropped a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conntrack {
    /// It is not known.
    #[default]
    Unknown,
    /// Its counters stood still: it has not.
    StoodStill,
    /// They have moved since before the drop.
    Moved,
    /// It has dropped so many, nobody knows when.
    Some(u64),
}

/// What is known of the rules of nftables.
#[derive(Clone, Copy, Debug)]
pub enum Rules<'r> {
    /// Where the packet can have been dropped.
    Places(&'r Places),
    /// Why they are not known.
    Unread(&'r str),
    /// There are none, or they may not be read.
    None,
}

/// A function of the kernel, without the offset in it and what the compiler added to its name.
fn function(symbol: Option<&str>) -> &str {
    symbol.map_or("", |symbol| symbol.split(['+', '.']).next().unwrap_or_default())
}

/// The table that explains a drop at `site`; `None` if none would.
#[must_use]
pub fn question(site: &Site<'_>) -> Option<Question> {
    // Of several packets that need not be equal nothing more is known.
    if site.mixed {
        return None;
    }
    if filter::is_netfilter(site) {
        // An IP packet: of others no hook is known.
        return site.ends.map(|_| Question::Rules);
    }
    if qdisc::is_qdisc(site) {
        return Some(Question::Qdiscs);
    }
    if neighbour::is_neighbour(site) {
        return Some(Question::Neighbours);
    }
    filter::is_xdp(site).then_some(Question::Xdp)
}

/// What the packet tells by itself, without any table.
#[must_use]
pub fn by_itself(site: &Site<'_>) -> Option<Hint> {
    if site.mixed {
        return None;
    }
    let of_function = || site.is_by_function().then(|| function::meaning(site.function)).flatten().map(Hint::of);
    filter::by_itself(site).or_else(|| route::by_itself(site)).or_else(of_function)
}

/// The class of a drop without a reason, where its function tells.
#[must_use]
pub fn class_of_function(function: &str) -> Option<DropClass> {
    function::class(function)
}

/// What a drop without a reason means, where its function tells.
#[must_use]
pub fn meaning_of_function(function: &str) -> Option<&'static str> {
    function::meaning(function)
}

/// What the rules tell of a drop.
#[must_use]
pub fn explain_rule(by: By, rules: Rules<'_>, tables: &Tables<'_>) -> Option<Hint> {
    filter::explain(by, rules, tables)
}

/// What the other tables tell of a drop. Without what is needed of them, what the packet tells.
#[must_use]
pub fn explain(open: &Open, tables: &Tables<'_>) -> Option<Hint> {
    let (site, ifindex) = (open.site(), open.record.ifindex);
    match open.question {
        Question::Rules => None,
        Question::Xdp => filter::explain_xdp(&site, ifindex, tables.xdp?),
        Question::Qdiscs => qdisc::explain(&site, ifindex, tables.qdiscs?),
        Question::Neighbours => neighbour::explain(&site, ifindex, tables.neighbours),
    }
}
