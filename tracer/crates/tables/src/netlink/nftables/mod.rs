//! `NFT_MSG_GETCHAIN` and `NFT_MSG_GETRULE`: the nftables rules that can drop a packet
//! (include/uapi/linux/netfilter/nf_tables.h). iptables-nft keeps its rules there, too;
//! iptables-legacy does not.

mod expression;
mod limit;
mod set;

use self::expression::Expressions;
pub use self::expression::{Load, Operator, REGISTER_WORDS, Step};
pub use self::set::{Element, Set, Value, elements, set};
use super::NFGENMSG;
use super::attribute::{Attributes, be32_at, be64_at, put, text, u8_at};

/// `NFT_MSG_NEWCHAIN`: a chain. Each type has `NFNL_SUBSYS_NFTABLES` in the high byte.
pub const NEWCHAIN: u16 = 10 << 8 | 3;
/// `NFT_MSG_GETCHAIN`: asks for chains.
pub const GETCHAIN: u16 = 10 << 8 | 4;
/// `NFT_MSG_NEWRULE`: a rule.
pub const NEWRULE: u16 = 10 << 8 | 6;
/// `NFT_MSG_GETRULE`: asks for rules.
pub const GETRULE: u16 = 10 << 8 | 7;
/// `NFT_MSG_NEWSET`: a set.
pub const NEWSET: u16 = 10 << 8 | 9;
/// `NFT_MSG_GETSET`: asks for sets.
pub const GETSET: u16 = 10 << 8 | 10;
/// `NFT_MSG_NEWSETELEM`: elements of a set.
pub const NEWSETELEM: u16 = 10 << 8 | 12;
/// `NFT_MSG_GETSETELEM`: asks for the elements of a set.
pub const GETSETELEM: u16 = 10 << 8 | 13;
/// `NFT_MSG_NEWGEN`: the generation.
pub const NEWGEN: u16 = 10 << 8 | 15;
/// `NFT_MSG_GETGEN`: asks for the generation.
pub const GETGEN: u16 = 10 << 8 | 16;
/// Attributes of a request for the elements of a set.
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;

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
const GENERATION: u16 = 1;

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
    /// The order of base chains at a hook.
    pub priority: i32,
    /// The devices of a base chain that is bound to some (ingress, egress). Hostile bytes.
    pub devices: Vec<String>,
    /// Whether a packet that reaches its end is dropped.
    pub policy_drops: bool,
}

/// What a rule does with a matching packet, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Drops it.
    Drop,
    /// Drops it and notifies the sender.
    Reject,
    /// Looks the verdict up in a map: may drop it, or lead anywhere in its table.
    MayDrop,
    /// Lets it through this base chain.
    Accept,
    /// Returns to the calling chain.
    Return,
    /// Calls another chain of the table.
    Jump(String),
    /// Goes on in another chain of the table and does not return.
    Goto(String),
    /// Goes on with the next rule.
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
    /// The steps before the action.
    pub steps: Vec<Step>,
    /// The action.
    pub action: Action,
    /// The packets of its counter, if it has one before the action.
    pub packets: Option<u64>,
    /// Whether it may change a packet: translate addresses, write into headers, hand it on.
    pub rewrites: bool,
    /// Its comment. Hostile bytes.
    pub comment: Option<String>,
    /// The map of [`Action::MayDrop`].
    pub map: Option<Map>,
    /// The set whose elements it adds or removes. Hostile bytes.
    pub updates: Option<String>,
}

/// A map of verdicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Its name. Hostile bytes.
    pub set: Box<str>,
    /// Its place among the sets, once known.
    pub index: Option<usize>,
    /// The register where the key begins.
    pub register: usize,
}

/// The rules of a namespace at one moment.
#[derive(Clone, Debug, Default)]
pub struct Dump {
    /// The kernel's count of changes.
    pub generation: u32,
    /// All chains.
    pub chains: Vec<Chain>,
    /// All rules, in order within each chain.
    pub rules: Vec<Rule>,
    /// All sets and maps.
    pub sets: Vec<Set>,
    /// Bytes received from the kernel.
    pub bytes: usize,
}

/// The kernel's name of a rule.
#[derive(Clone, Copy, Debug)]
pub struct RuleName<'r> {
    /// `NFPROTO_*`.
    pub family: u8,
    /// Its table.
    pub table: &'r str,
    /// Its chain.
    pub chain: &'r str,
    /// Its number.
    pub handle: u64,
}

impl RuleName<'_> {
    /// Returns the body of a request for this rule.
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        let mut body = vec![self.family, 0, 0, 0];
        let string = |text: &str| [text.as_bytes(), b"\0"].concat();
        for (kind, value) in [
            (RULE_TABLE, string(self.table)),
            (RULE_CHAIN, string(self.chain)),
            (RULE_HANDLE, self.handle.to_be_bytes().to_vec()),
        ] {
            put(&mut body, kind, &value);
        }
        body
    }
}

/// Parses the generation.
#[must_use]
pub fn generation(message: &[u8]) -> Option<u32> {
    find(message.get(NFGENMSG..)?, GENERATION).and_then(number)
}

/// Parses a chain.
#[must_use]
pub fn chain(message: &[u8]) -> Option<Chain> {
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
            // A single device; the kernel repeats it beside the list for older programs.
            HOOK_DEV => chain.devices = vec![text(value)],
            HOOK_DEVS => {
                let name = |(kind, name)| if kind == DEVICE_NAME { text(name) } else { format!("{}*", text(name)) };
                chain.devices = Attributes::of(value).map(name).collect();
            }
            _ => {}
        }
    }
}

/// Parses a rule.
#[must_use]
pub fn rule(message: &[u8]) -> Option<Rule> {
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
    let Expressions { steps, action, packets, rewrites, map, updates } = expressions?;
    let action = action.unwrap_or(Action::Pass);
    let (table, chain, handle) = (table?, chain?, handle?);
    Some(Rule { family, table, chain, handle, steps, action, packets, rewrites, comment, map, updates })
}

/// Finds the comment in the data that user space keeps with a rule.
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

/// Reads a number of nftables, which is in network order.
fn number(value: &[u8]) -> Option<u32> {
    be32_at(value, 0)
}

#[cfg(test)]
mod tests;
