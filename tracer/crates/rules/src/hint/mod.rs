//! Details that a drop's reason leaves open: the rule, the queueing discipline, the destination.
//!
//! Some come from the packet itself. For the rest, a thread reads the tables of its namespace after the drop
//! ([`Tables`]). The code excludes what it can; if several candidates remain, the hint says so. Pure: the same packet
//! and the same tables give the same hint.

mod filter;
mod function;
mod neighbour;
mod program;
mod qdisc;
mod route;
#[cfg(test)]
mod tests;

use tracer_common::drops::{Direction, DropRecord};
pub use tracer_stream::Hint;
use tracer_stream::{Drop, DropClass, PacketEnds};
use tracer_tables::{
    netlink::{neigh::Neighbour, qdisc::Qdisc},
    programs::Program,
};

pub use self::program::XDP;
use crate::netfilter::{By, Places};

/// The place of a drop, with the known facts of the packet.
#[derive(Clone, Copy, Debug)]
pub struct Site<'d> {
    /// Name of the reason; `None` where the kernel gives none.
    pub reason: Option<&'d str>,
    /// The function that dropped it, without the compiler's suffix; empty if unknown.
    pub function: &'d str,
    /// Name of the device.
    pub iface: Option<&'d str>,
    /// Its direction.
    pub direction: Direction,
    /// `None` if it is no IP packet.
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
    /// Whether the call site stands for the reason: the reason is missing or empty.
    #[must_use]
    pub fn is_by_function(&self) -> bool {
        matches!(self.reason, None | Some("NOT_SPECIFIED"))
    }
}

/// A drop whose hint needs a table, for another thread to find it.
#[derive(Clone, Debug)]
pub struct Open {
    /// Its number in the answer.
    pub number: u64,
    /// The table that it needs.
    pub question: Question,
    /// Time of the drop; of several, of the first.
    pub first_ns: u64,
    /// Process id of the owner of its socket.
    pub owner: Option<u32>,
    /// The kernel side's record.
    pub record: Box<DropRecord>,
    reason: Option<Box<str>>,
    function: Box<str>,
    iface: Option<Box<str>>,
    direction: Direction,
    ends: Option<PacketEnds>,
}

impl Open {
    /// A drop whose hint needs the answer to `question`.
    #[must_use]
    pub fn new(number: u64, question: Question, owner: Option<u32>, drop: &Drop, record: &DropRecord) -> Self {
        let site = Site::from(drop);
        Self {
            number,
            question,
            first_ns: record.first_ns.min(record.header.boot_ns),
            owner,
            record: Box::new(*record),
            reason: site.reason.map(Box::from),
            function: site.function.into(),
            iface: site.iface.map(Box::from),
            direction: site.direction,
            ends: site.ends,
        }
    }

    /// The place of the drop.
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

    /// Whether the packet was on its way out of this host.
    #[must_use]
    pub fn is_out(&self) -> bool {
        match self.reason.as_deref() {
            Some("TC_EGRESS" | "BPF_CGROUP_EGRESS") => true,
            Some("TC_INGRESS") => false,
            _ => self.direction == Direction::Out,
        }
    }

    /// The part of netfilter that dropped it. `nftables_drops`: nftables was seen to drop by itself in this kernel.
    #[must_use]
    pub fn by(&self, nftables_drops: bool) -> By {
        match &*self.function {
            "nft_do_chain" => By::Nftables,
            _ if nftables_drops => By::Other,
            _ => By::Anything,
        }
    }
}

/// A table that explains a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The rules of nftables.
    Rules,
    /// The queueing disciplines.
    Qdiscs,
    /// The neighbours.
    Neighbours,
    /// The XDP program of the device.
    Xdp,
    /// The tcx programs of the device, and whether it may have filters of tc.
    Tc,
    /// The BPF programs of its owner's control group.
    Group,
}

/// The tables of a namespace, besides the rules of nftables.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tables<'t> {
    /// Tables of iptables-legacy are in use: their rules are unknown.
    pub legacy: bool,
    /// Entries and limit of a conntrack table that is full: it drops, too.
    pub full_conntrack: Option<(u64, u64)>,
    /// The evidence of its counters.
    pub conntrack: Conntrack,
    /// The programs of the hook that dropped it, in the order in which they run; `None` if they could not be read.
    pub programs: Option<&'t [Program]>,
    /// The path of the control group to which they apply.
    pub group: Option<&'t str>,
    /// Queueing disciplines; `None` if they could not be read.
    pub qdiscs: Option<&'t [Qdisc]>,
    /// Neighbours; `None` if they could not be read.
    pub neighbours: Option<&'t [Neighbour]>,
}

/// Whether connection tracking itself may have dropped a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conntrack {
    /// Unknown.
    #[default]
    Unknown,
    /// Its counters stood still: it dropped nothing.
    StoodStill,
    /// They have moved since before the drop.
    Moved,
    /// It dropped this many at unknown times.
    Some(u64),
}

/// The known rules of nftables.
#[derive(Clone, Copy, Debug)]
pub enum Rules<'r> {
    /// The places that may have dropped the packet.
    Places(&'r Places),
    /// The reason why they are unknown.
    Unread(&'r str),
    /// There are none, or they may not be read.
    None,
}

/// A kernel function without its offset and the compiler's suffix.
fn function(symbol: Option<&str>) -> &str {
    symbol.map_or("", |symbol| symbol.split(['+', '.']).next().unwrap_or_default())
}

/// The table that explains a drop at `site`; `None` if none does.
#[must_use]
pub fn question(site: &Site<'_>) -> Option<Question> {
    // Several packets that need not be equal have no common details.
    if site.mixed {
        return None;
    }
    if filter::is_netfilter(site) {
        // Only IP packets have known hooks.
        return site.ends.map(|_| Question::Rules);
    }
    if qdisc::is_qdisc(site) {
        return Some(Question::Qdiscs);
    }
    if neighbour::is_neighbour(site) {
        return Some(Question::Neighbours);
    }
    program::question(site)
}

/// The hint from the packet alone, without any table.
#[must_use]
pub fn by_itself(site: &Site<'_>) -> Option<Hint> {
    if site.mixed {
        return None;
    }
    let of_function = || site.is_by_function().then(|| function::meaning(site.function)).flatten().map(Hint::of);
    filter::by_itself(site).or_else(|| program::by_itself(site)).or_else(|| route::by_itself(site)).or_else(of_function)
}

/// The class of a drop without a reason, if its function determines it.
#[must_use]
pub fn class_of_function(function: &str) -> Option<DropClass> {
    function::class(function)
}

/// The meaning of a drop without a reason, if its function determines it.
#[must_use]
pub fn meaning_of_function(function: &str) -> Option<&'static str> {
    function::meaning(function)
}

/// The hint from the rules.
#[must_use]
pub fn explain_rule(by: By, rules: Rules<'_>, tables: &Tables<'_>) -> Option<Hint> {
    filter::explain(by, rules, tables)
}

/// The hint from the other tables. Falls back to the packet when the needed table is missing.
#[must_use]
pub fn explain(open: &Open, tables: &Tables<'_>) -> Option<Hint> {
    let (site, ifindex) = (open.site(), open.record.ifindex);
    match open.question {
        Question::Rules => None,
        Question::Xdp | Question::Tc | Question::Group => program::explain(&site, ifindex, tables),
        Question::Qdiscs => qdisc::explain(&site, ifindex, tables.qdiscs?),
        Question::Neighbours => neighbour::explain(&site, ifindex, tables.neighbours),
    }
}
