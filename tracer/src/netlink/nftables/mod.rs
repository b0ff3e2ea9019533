//! `NFT_MSG_GETCHAIN` and `NFT_MSG_GETRULE`: where the rules of nftables can drop a packet
//! (include/uapi/linux/netfilter/nf_tables.h). iptables-nft keeps its rules there, too;
//! iptables-legacy does not.

mod expression;

use std::cell::Cell;
use std::io;

use self::expression::Expressions;
pub use self::expression::{Load, Operator, REGISTER_WORDS, Step};
use super::Socket;
use super::attribute::{Attributes, be32_at, be64_at, text, u8_at};
use super::socket::ATTEMPTS;

const NETLINK_NETFILTER: libc::c_int = 12;
/// `NFNL_SUBSYS_NFTABLES` in the high byte.
const NEWCHAIN: u16 = 10 << 8 | 3;
const GETCHAIN: u16 = 10 << 8 | 4;
const NEWRULE: u16 = 10 << 8 | 6;
const GETRULE: u16 = 10 << 8 | 7;
/// `struct nfgenmsg`: u8 family, u8 version, u16 resource. Family 0 asks for all.
const NFGENMSG: usize = 4;

const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const HOOK_DEV: u16 = 3;
const HOOK_DEVS: u16 = 4;
const DEVICE_NAME: u16 = 1;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_HANDLE: u16 = 3;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USERDATA: u16 = 7;
/// `NFTNL_UDATA_RULE_COMMENT` of libnftnl: user space's own type-length-value.
const USERDATA_COMMENT: u8 = 0;
const NF_DROP: i32 = 0;

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// `NFPROTO_*`.
    pub family: u8,
    /// Its table. Hostile bytes.
    pub table: String,
    /// Its name. Hostile bytes.
    pub name: String,
    /// `NF_INET_*` of a base chain (`NF_NETDEV_*`, `NF_BR_*` in those families).
    pub hook: Option<u32>,
    /// Base chains of a hook are asked in this order.
    pub priority: i32,
    /// The devices of a base chain that is of some only (ingress, egress). Hostile bytes.
    pub devices: Vec<String>,
    /// What reaches its end is dropped.
    pub policy_drops: bool,
}

/// What a rule does with a packet that it matches, as far as this matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Drops it.
    Drop,
    /// Drops it and tells the sender.
    Reject,
    /// Looks the verdict up in a map: may drop it, or lead anywhere in its table.
    MayDrop,
    /// Lets it through this base chain.
    Accept,
    /// Goes back to where the chain was called from.
    Return,
    /// Calls another chain of the table.
    Jump(String),
    /// Goes on in another chain of the table and does not come back.
    Goto(String),
    /// Nothing that ends the way of the packet.
    Pass,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `NFPROTO_*`.
    pub family: u8,
    /// Its table. Hostile bytes.
    pub table: String,
    /// Its chain. Hostile bytes.
    pub chain: String,
    /// Its number, as `nft -a list ruleset` shows it.
    pub handle: u64,
    /// What a packet has to pass before the action.
    pub steps: Vec<Step>,
    /// What it does.
    pub action: Action,
    /// Packets that its counter has counted, if it has one before the action.
    pub packets: Option<u64>,
    /// It may change a packet: translate addresses, write into headers, hand it on.
    pub rewrites: bool,
    /// Its comment. Hostile bytes.
    pub comment: Option<String>,
}

/// Every chain and every rule of this namespace.
///
/// # Errors
/// Those of the socket, and what the kernel answers: without `CAP_NET_ADMIN` it refuses. And if there
/// are more than `most` rules, or they change faster than they can be read.
pub fn read(most: usize) -> io::Result<(Vec<Chain>, Vec<Rule>)> {
    let mut socket = Socket::open(NETLINK_NETFILTER)?;
    let chains = socket.table(GETCHAIN, &[0; NFGENMSG], NEWCHAIN, chain)?;
    // Of all attempts together: rules may change while they are told.
    let (kept, room) = (Cell::new(0), most.saturating_add(1).saturating_mul(ATTEMPTS as usize));
    let rules = socket.table(GETRULE, &[0; NFGENMSG], NEWRULE, |message| {
        kept.set(kept.get() + 1);
        (kept.get() <= room).then(|| rule(message)).flatten()
    })?;
    if rules.rows.len() > most || kept.get() > room {
        return Err(io::Error::other(format!("there are more than {most} rules")));
    }
    Ok((chains.of_one_moment()?, rules.of_one_moment()?))
}

pub(crate) fn chain(message: &[u8]) -> Option<Chain> {
    let family = u8_at(message, 0)?;
    let mut chain = Chain {
        family,
        table: String::new(),
        name: String::new(),
        hook: None,
        priority: 0,
        devices: Vec::new(),
        policy_drops: false,
    };
    for (kind, value) in Attributes::after(NFGENMSG, message) {
        match kind {
            CHAIN_TABLE => chain.table = text(value),
            CHAIN_NAME => chain.name = text(value),
            CHAIN_HOOK => hook(value, &mut chain),
            CHAIN_POLICY => chain.policy_drops = number(value).map(u32::cast_signed) == Some(NF_DROP),
            _ => {}
        }
    }
    (!chain.name.is_empty()).then_some(chain)
}

fn hook(attributes: &[u8], chain: &mut Chain) {
    for (kind, value) in Attributes::of(attributes) {
        match kind {
            HOOK_NUMBER => chain.hook = number(value),
            HOOK_PRIORITY => chain.priority = number(value).unwrap_or_default().cast_signed(),
            // Of one device, and for programs that know no lists, beside the list.
            HOOK_DEV => chain.devices = vec![text(value)],
            HOOK_DEVS => {
                let name = |(kind, name)| if kind == DEVICE_NAME { text(name) } else { format!("{}*", text(name)) };
                chain.devices = Attributes::of(value).map(name).collect();
            }
            _ => {}
        }
    }
}

pub(crate) fn rule(message: &[u8]) -> Option<Rule> {
    let family = u8_at(message, 0)?;
    let (mut table, mut chain, mut handle) = (None, None, None);
    let (mut expressions, mut comment) = (None, None);
    for (kind, value) in Attributes::after(NFGENMSG, message) {
        match kind {
            RULE_TABLE => table = Some(text(value)),
            RULE_CHAIN => chain = Some(text(value)),
            RULE_HANDLE => handle = be64_at(value, 0),
            RULE_EXPRESSIONS => {
                let all: &mut Expressions = expressions.get_or_insert_default();
                Attributes::of(value).for_each(|(_, expression)| all.add(expression));
            }
            RULE_USERDATA => comment = self::comment(value),
            _ => {}
        }
    }
    let Expressions { steps, action, packets, rewrites } = expressions?;
    let action = action.unwrap_or(Action::Pass);
    Some(Rule { family, table: table?, chain: chain?, handle: handle?, steps, action, packets, rewrites, comment })
}

/// The comment in what user space keeps with a rule.
fn comment(mut userdata: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = userdata {
        let value = rest.get(..usize::from(*length))?;
        if *kind == USERDATA_COMMENT {
            return Some(text(value));
        }
        userdata = rest.get(usize::from(*length)..)?;
    }
    None
}

fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    Attributes::of(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// Numbers of nftables are in network order.
fn number(value: &[u8]) -> Option<u32> {
    be32_at(value, 0)
}

#[cfg(test)]
mod tests;
