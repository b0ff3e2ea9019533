//! `NFT_MSG_GETCHAIN` and `NFT_MSG_GETRULE`: where the rules of nftables can drop a packet
//! (include/uapi/linux/netfilter/nf_tables.h). iptables-nft keeps its rules there, too;
//! iptables-legacy does not.

use std::io;

use super::Socket;
use super::attribute::{Attributes, be32_at, be64_at, text, u8_at};

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
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_HANDLE: u16 = 3;
const RULE_EXPRESSIONS: u16 = 4;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const IMMEDIATE_DATA: u16 = 2;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;
const COUNTER_PACKETS: u16 = 2;
const TARGET_NAME: u16 = 1;
/// The destination register of a lookup, and its number for verdicts.
const LOOKUP_DREG: u16 = 3;
const REG_VERDICT: u32 = 0;
const NF_DROP: i32 = 0;
const NFT_JUMP: i32 = -3;
const NFT_GOTO: i32 = -4;

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// `NFPROTO_*`.
    pub family: u8,
    /// Its table. Hostile bytes.
    pub table: String,
    /// Its name. Hostile bytes.
    pub name: String,
    /// `NF_INET_*` of a base chain.
    pub hook: Option<u32>,
    /// What reaches its end is dropped.
    pub policy_drops: bool,
}

/// What a rule does with a packet that it matches, as far as this matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Drops or rejects it.
    Drop,
    /// Looks the verdict up in a map: may drop it.
    MayDrop,
    /// Goes on in another chain of the table.
    Chain(String),
}

/// A rule that drops or leads elsewhere.
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
    /// What it does.
    pub action: Action,
    /// Packets that its counter has counted; `None` if it has no counter.
    pub packets: Option<u64>,
}

/// Every chain and every rule that matters of this namespace.
///
/// # Errors
/// Those of the socket, and what the kernel answers: without `CAP_NET_ADMIN` it refuses. And if the
/// rules change faster than they can be read.
pub fn read() -> io::Result<(Vec<Chain>, Vec<Rule>)> {
    let mut socket = Socket::open(NETLINK_NETFILTER)?;
    let chains = socket.table(GETCHAIN, &[0; NFGENMSG], NEWCHAIN, chain)?;
    let rules = socket.table(GETRULE, &[0; NFGENMSG], NEWRULE, rule)?;
    Ok((chains.of_one_moment()?, rules.of_one_moment()?))
}

pub(super) fn chain(message: &[u8]) -> Option<Chain> {
    let family = u8_at(message, 0)?;
    let mut chain = Chain { family, table: String::new(), name: String::new(), hook: None, policy_drops: false };
    for (kind, value) in Attributes::after(NFGENMSG, message) {
        match kind {
            CHAIN_TABLE => chain.table = text(value),
            CHAIN_NAME => chain.name = text(value),
            CHAIN_HOOK => chain.hook = find(value, HOOK_NUMBER).and_then(number),
            CHAIN_POLICY => chain.policy_drops = number(value).map(u32::cast_signed) == Some(NF_DROP),
            _ => {}
        }
    }
    (!chain.name.is_empty()).then_some(chain)
}

pub(super) fn rule(message: &[u8]) -> Option<Rule> {
    let family = u8_at(message, 0)?;
    let (mut table, mut chain, mut handle, mut does) = (None, None, None, Does::default());
    for (kind, value) in Attributes::after(NFGENMSG, message) {
        match kind {
            RULE_TABLE => table = Some(text(value)),
            RULE_CHAIN => chain = Some(text(value)),
            RULE_HANDLE => handle = be64_at(value, 0),
            RULE_EXPRESSIONS => Attributes::of(value).for_each(|(_, expression)| does.add(expression)),
            _ => {}
        }
    }
    Some(Rule { family, table: table?, chain: chain?, handle: handle?, action: does.action?, packets: does.packets })
}

/// What the expressions of a rule add up to.
#[derive(Default)]
struct Does {
    action: Option<Action>,
    packets: Option<u64>,
}

impl Does {
    fn add(&mut self, expression: &[u8]) {
        let (mut name, mut data) = (&[][..], &[][..]);
        for (kind, value) in Attributes::of(expression) {
            match kind {
                EXPRESSION_NAME => name = value.strip_suffix(b"\0").unwrap_or(value),
                EXPRESSION_DATA => data = value,
                _ => {}
            }
        }
        match name {
            b"immediate" => {
                let verdict = find(data, IMMEDIATE_DATA).and_then(|data| find(data, DATA_VERDICT));
                let Some(verdict) = verdict else { return };
                match find(verdict, VERDICT_CODE).and_then(number).map(u32::cast_signed) {
                    Some(NF_DROP) => self.action = Some(Action::Drop),
                    Some(NFT_JUMP | NFT_GOTO) => {
                        self.action = find(verdict, VERDICT_CHAIN).map(|chain| Action::Chain(text(chain)));
                    }
                    _ => {}
                }
            }
            b"reject" => self.action = Some(Action::Drop),
            b"lookup" if find(data, LOOKUP_DREG).and_then(number) == Some(REG_VERDICT) => {
                self.action = Some(Action::MayDrop);
            }
            // Extensions of iptables, among them its REJECT; its DROP is an `immediate`.
            b"target" if find(data, TARGET_NAME).map(text).is_some_and(|name| name == "REJECT" || name == "DROP") => {
                self.action = Some(Action::Drop);
            }
            b"counter" => {
                self.packets = find(data, COUNTER_PACKETS).and_then(|value| be64_at(value, 0));
            }
            _ => {}
        }
    }
}

fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    Attributes::of(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// Numbers of nftables are in network order.
fn number(value: &[u8]) -> Option<u32> {
    be32_at(value, 0)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn expression(name: &[u8], data: &[u8]) -> Vec<u8> {
        attribute(1, &[attribute(1, &[name, b"\0"].concat()), attribute(2, data)].concat())
    }

    fn verdict(code: i32, chain: &[u8]) -> Vec<u8> {
        let mut parts = attribute(1, &code.to_be_bytes());
        if !chain.is_empty() {
            parts.extend(attribute(2, chain));
        }
        [attribute(1, &0u32.to_be_bytes()), attribute(2, &attribute(2, &parts))].concat()
    }

    fn a_rule(expressions: &[Vec<u8>]) -> Option<Rule> {
        let body = [
            vec![1, 0, 0, 0],
            attribute(1, b"filter\0"),
            attribute(2, b"output\0"),
            attribute(3, &5u64.to_be_bytes()),
            attribute(4, &expressions.concat()),
        ];
        rule(&body.concat())
    }

    #[test]
    fn chains() {
        let hook = [attribute(1, &3u32.to_be_bytes()), attribute(2, &0u32.to_be_bytes())].concat();
        let body = [
            vec![1, 0, 0, 0],
            attribute(1, b"filter\0"),
            attribute(3, b"output\0"),
            attribute(4, &hook),
            attribute(5, &0u32.to_be_bytes()),
        ]
        .concat();
        let expected =
            Chain { family: 1, table: "filter".into(), name: "output".into(), hook: Some(3), policy_drops: true };
        assert_eq!(chain(&body), Some(expected));
        for length in 0..body.len() {
            let _ = chain(&body[..length]);
        }
    }

    #[test]
    fn rules_that_matter() {
        let counter = expression(b"counter", &attribute(2, &35u64.to_be_bytes()));
        for (expressions, action, packets) in [
            (vec![counter.clone(), expression(b"immediate", &verdict(0, b""))], Some(Action::Drop), Some(35)),
            (vec![expression(b"immediate", &verdict(1, b""))], None, None),
            (vec![expression(b"immediate", &verdict(-3, b"tcp\0"))], Some(Action::Chain("tcp".into())), None),
            (vec![expression(b"reject", &[])], Some(Action::Drop), None),
            (vec![expression(b"lookup", &attribute(3, &0u32.to_be_bytes()))], Some(Action::MayDrop), None),
            (vec![expression(b"lookup", &attribute(3, &1u32.to_be_bytes()))], None, None),
            (vec![expression(b"target", &attribute(1, b"REJECT\0"))], Some(Action::Drop), None),
            (vec![expression(b"target", &attribute(1, b"LOG\0"))], None, None),
            (vec![counter], None, None),
            (vec![], None, None),
        ] {
            let found = a_rule(&expressions);
            assert_eq!(found.as_ref().map(|rule| rule.action.clone()), action);
            assert_eq!(found.and_then(|rule| rule.packets), packets);
        }
    }

    #[test]
    fn a_message_that_is_cut_is_no_rule() {
        let whole = [
            vec![1, 0, 0, 0],
            attribute(1, b"filter\0"),
            attribute(2, b"output\0"),
            attribute(3, &5u64.to_be_bytes()),
            attribute(4, &expression(b"immediate", &verdict(0, b""))),
        ]
        .concat();
        assert!(rule(&whole).is_some());
        for length in 0..whole.len() - 8 {
            assert_eq!(rule(&whole[..length]), None, "{length}");
        }
    }
}
