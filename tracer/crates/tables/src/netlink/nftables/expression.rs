//! The expressions of a rule, as far as they show which packets it cannot have matched
//! (net/netfilter/nft_*.c; include/uapi/linux/netfilter/nf_tables.h).

use super::{Action, Map, find, limit, number};
use crate::netlink::attribute::{Attributes, be64_at, text};

pub(super) const EXPRESSION_NAME: u16 = 1;
pub(super) const EXPRESSION_DATA: u16 = 2;
const IMMEDIATE_DREG: u16 = 1;
const IMMEDIATE_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;
const COUNTER_PACKETS: u16 = 2;
const TARGET_NAME: u16 = 1;
const LOOKUP_SET: u16 = 1;
const LOOKUP_SREG: u16 = 2;
const LOOKUP_DREG: u16 = 3;
const LOOKUP_FLAGS: u16 = 5;
/// `NFT_LOOKUP_F_INV`.
const INVERSE: u32 = 1;
const DYNSET_NAME: u16 = 1;
const DYNSET_SREG_KEY: u16 = 4;
const CT_KEY: u16 = 2;
const META_DREG: u16 = 1;
const META_KEY: u16 = 2;
const PAYLOAD_DREG: u16 = 1;
const PAYLOAD_BASE: u16 = 2;
const PAYLOAD_OFFSET: u16 = 3;
const PAYLOAD_LEN: u16 = 4;
const CMP_SREG: u16 = 1;
const CMP_OP: u16 = 2;
const CMP_DATA: u16 = 3;
const RANGE_SREG: u16 = 1;
const RANGE_OP: u16 = 2;
const RANGE_FROM: u16 = 3;
const RANGE_TO: u16 = 4;
const BITWISE_SREG: u16 = 1;
const BITWISE_DREG: u16 = 2;
const BITWISE_LEN: u16 = 3;
const BITWISE_MASK: u16 = 4;
const BITWISE_XOR: u16 = 5;
const BITWISE_OP: u16 = 6;
/// `NFT_REG_4`, the last of the 16-byte registers; the 4-byte ones begin with `NFT_REG32_00`.
const REG_4: u32 = 4;
/// `NFT_REG_VERDICT`.
const REG_VERDICT: u32 = 0;
const NF_DROP: i32 = 0;
const NF_ACCEPT: i32 = 1;
const NFT_CONTINUE: i32 = -1;
const NFT_JUMP: i32 = -3;
const NFT_GOTO: i32 = -4;
const NFT_RETURN: i32 = -5;

/// 4-byte words in all registers (`struct nft_regs`), including the verdict register.
pub const REGISTER_WORDS: usize = 20;

/// The value that a register gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Bytes of the network header from this offset on.
    Network(u32),
    /// Bytes of the transport header from this offset on.
    Transport(u32),
    /// `NFT_META_PROTOCOL`: the protocol of the link layer.
    Protocol,
    /// `NFT_META_NFPROTO`.
    NfProto,
    /// `NFT_META_L4PROTO`.
    L4Proto,
    /// `NFT_META_IIF`.
    Iif,
    /// `NFT_META_OIF`.
    Oif,
    /// `NFT_META_IIFNAME`.
    IifName,
    /// `NFT_META_OIFNAME`.
    OifName,
}

/// `enum nft_cmp_ops`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// ==
    Equal,
    /// !=
    NotEqual,
    /// <
    Less,
    /// <=
    LessOrEqual,
    /// >
    Greater,
    /// >=
    GreaterOrEqual,
}

/// A step towards a rule's verdict. A register is named by its first word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Loads `length` bytes of the packet, or about it, into a register.
    Load {
        /// The source.
        what: Load,
        /// The destination.
        register: usize,
        /// Bytes.
        length: usize,
    },
    /// `to = from & mask ^ xor`.
    Bitwise {
        /// Source.
        from: usize,
        /// Destination.
        to: usize,
        /// As long as the changed value.
        mask: Box<[u8]>,
        /// As long as the mask.
        xor: Box<[u8]>,
    },
    /// Matches only if the comparison is true.
    Compare {
        /// The register.
        register: usize,
        /// The operator.
        operator: Operator,
        /// The value to compare with.
        with: Box<[u8]>,
    },
    /// Matches only a value in this range, or (`!within`) outside it.
    Range {
        /// The register.
        register: usize,
        /// Whether the value must lie inside.
        within: bool,
        /// First.
        from: Box<[u8]>,
        /// Last.
        to: Box<[u8]>,
    },
    /// Loads an unknown value into this register and the words behind it that belong to it; or the load fails, and the
    /// rule does not match.
    Unknown {
        /// The register.
        register: usize,
        /// The value in the words of nft.
        what: &'static str,
    },
    /// Matches only a key in a set, or (`inverse`) a key outside it.
    Lookup {
        /// Its name. Hostile bytes.
        set: Box<str>,
        /// Its place among the sets, once known.
        index: Option<usize>,
        /// The register where the key begins.
        register: usize,
        /// Whether keys in the set do not match.
        inverse: bool,
        /// The register that gets a map's value.
        to: Option<usize>,
    },
    /// Matches or not; the registers stay.
    Opaque,
    /// Matches within a rate or a number, or beyond it; the registers stay.
    Limit {
        /// The limit, as nft writes it.
        words: Box<str>,
        /// The set that has one limit for each key, and the register where the key begins.
        by: Option<(Box<str>, usize)>,
    },
    /// Matches or not, and may write to any register.
    Clobber,
}

/// The effect of a rule's expressions.
#[derive(Debug, Default)]
pub(super) struct Expressions {
    pub steps: Vec<Step>,
    pub action: Option<Action>,
    pub packets: Option<u64>,
    pub rewrites: bool,
    pub map: Option<Map>,
    pub updates: Option<String>,
}

impl Expressions {
    pub fn add(&mut self, expression: &[u8]) {
        // The kernel does not reach the expressions after the verdict.
        if self.action.is_some() {
            return;
        }
        let (mut name, mut data) = (&[][..], &[][..]);
        for (kind, value) in Attributes::of(expression) {
            match kind {
                EXPRESSION_NAME => name = value.strip_suffix(b"\0").unwrap_or(value),
                EXPRESSION_DATA => data = value,
                _ => {}
            }
        }
        match name {
            b"immediate" => match find(data, IMMEDIATE_DATA).and_then(|data| find(data, DATA_VERDICT)) {
                Some(verdict) if register(data, IMMEDIATE_DREG).is_none_or(|word| word == 0) => {
                    self.action = self::verdict(verdict)
                }
                _ => self.steps.push(Step::Clobber),
            },
            b"reject" => self.action = Some(Action::Reject),
            b"lookup" => self.lookup(data),
            // Extensions of iptables, among them its REJECT; its DROP is an `immediate`.
            b"target" => match find(data, TARGET_NAME).map(text).as_deref() {
                Some("REJECT") => self.action = Some(Action::Reject),
                Some("DROP") => self.action = Some(Action::Drop),
                _ => {
                    self.rewrites = true;
                    self.steps.push(Step::Clobber);
                }
            },
            b"counter" => self.packets = find(data, COUNTER_PACKETS).and_then(|value| be64_at(value, 0)),
            b"meta" | b"payload" | b"cmp" | b"range" | b"bitwise" => match understood(name, data) {
                Some(step) => self.steps.push(step),
                // Without a destination register it sets a mark, or writes into the packet.
                None if name == b"meta" && find(data, META_DREG).is_none() => {}
                None if let Some(register) = written(name, data) => {
                    self.steps.push(Step::Unknown { register, what: words(name, data) });
                }
                None => {
                    self.rewrites |= name == b"payload" && find(data, PAYLOAD_DREG).is_none();
                    self.steps.push(Step::Clobber);
                }
            },
            b"log" | b"last" | b"notrack" | b"objref" => {}
            b"limit" | b"quota" | b"connlimit" | b"match" => self.steps.push(match limit::words(name, data) {
                Some(words) => Step::Limit { words, by: None },
                None => Step::Opaque,
            }),
            b"dynset" => {
                self.updates = find(data, DYNSET_NAME).map(text);
                let by = self.updates.as_deref().map(Into::into).zip(register(data, DYNSET_SREG_KEY));
                self.steps.push(match limit::of_key(data) {
                    Some(words) if by.is_some() => Step::Limit { words, by },
                    _ => Step::Clobber,
                });
            }
            _ if let Some(register) = written(name, data) => {
                self.steps.push(Step::Unknown { register, what: words(name, data) });
            }
            _ => {
                self.rewrites |= matches!(
                    name,
                    b"nat" | b"masq" | b"redir" | b"tproxy" | b"synproxy" | b"dup" | b"fwd" | b"exthdr" | b"queue"
                );
                self.steps.push(Step::Clobber);
            }
        }
    }

    fn lookup(&mut self, data: &[u8]) {
        let set = find(data, LOOKUP_SET).map(text).zip(register(data, LOOKUP_SREG));
        match (find(data, LOOKUP_DREG).and_then(number), set) {
            (Some(REG_VERDICT), set) => {
                self.action = Some(Action::MayDrop);
                self.map = set.map(|(set, register)| Map { set: set.into(), index: None, register });
            }
            (to, Some((set, from))) if to.is_none() || register(data, LOOKUP_DREG).is_some() => {
                let inverse = find(data, LOOKUP_FLAGS).and_then(number).is_some_and(|flags| flags & INVERSE != 0);
                let to = register(data, LOOKUP_DREG);
                self.steps.push(Step::Lookup { set: set.into(), index: None, register: from, inverse, to });
            }
            (Some(_), _) => self.steps.push(Step::Clobber),
            (None, _) => self.steps.push(Step::Opaque),
        }
    }
}

/// Returns the action of a verdict.
pub(super) fn verdict(verdict: &[u8]) -> Option<Action> {
    let chain = || find(verdict, VERDICT_CHAIN).map(text);
    match find(verdict, VERDICT_CODE).and_then(number).map(u32::cast_signed)? {
        NF_DROP => Some(Action::Drop),
        NF_ACCEPT => Some(Action::Accept),
        NFT_RETURN => Some(Action::Return),
        NFT_JUMP => chain().map(Action::Jump),
        NFT_GOTO => chain().map(Action::Goto),
        NFT_CONTINUE => Some(Action::Pass),
        _ => None,
    }
}

/// Returns the loaded value in the words of nft.
fn words(name: &[u8], data: &[u8]) -> &'static str {
    let key = |kind| find(data, kind).and_then(number);
    match (name, key(CT_KEY)) {
        (b"ct", Some(0)) => "ct state",
        (b"ct", Some(1)) => "ct direction",
        (b"ct", Some(2)) => "ct status",
        (b"ct", Some(3)) => "ct mark",
        (b"ct", _) => "ct",
        (b"meta", Some(3)) => "meta mark",
        (b"meta", Some(10)) => "meta skuid",
        (b"meta", Some(19)) => "meta pkttype",
        (b"meta", Some(23)) => "meta cgroup",
        (b"meta", _) => "meta",
        (b"fib", _) => "fib",
        (b"rt", _) => "rt",
        (b"numgen", _) => "numgen",
        (b"socket", _) => "socket",
        (b"hash", _) => "jhash",
        (b"exthdr", _) => "exthdr",
        (b"xfrm", _) => "ipsec",
        (b"osf", _) => "osf",
        (b"payload", _) => "@payload",
        _ => "\u{2026}",
    }
}

/// Returns the step for an expression; `None` if tracer cannot follow it.
fn understood(name: &[u8], data: &[u8]) -> Option<Step> {
    let value = |kind| Some(Box::from(find(find(data, kind)?, DATA_VALUE)?));
    Some(match name {
        b"meta" => {
            let (what, length) = match find(data, META_KEY).and_then(number)? {
                1 => (Load::Protocol, 2),
                4 => (Load::Iif, 4),
                5 => (Load::Oif, 4),
                6 => (Load::IifName, 16),
                7 => (Load::OifName, 16),
                15 => (Load::NfProto, 1),
                16 => (Load::L4Proto, 1),
                _ => return None,
            };
            Step::Load { what, register: register(data, META_DREG)?, length }
        }
        b"payload" => {
            let offset = find(data, PAYLOAD_OFFSET).and_then(number)?;
            let what = match find(data, PAYLOAD_BASE).and_then(number)? {
                1 => Load::Network(offset),
                2 => Load::Transport(offset),
                _ => return None,
            };
            let length = find(data, PAYLOAD_LEN).and_then(number).and_then(|length| usize::try_from(length).ok())?;
            Step::Load { what, register: register(data, PAYLOAD_DREG)?, length }
        }
        b"cmp" => {
            let operator = match find(data, CMP_OP).and_then(number)? {
                0 => Operator::Equal,
                1 => Operator::NotEqual,
                2 => Operator::Less,
                3 => Operator::LessOrEqual,
                4 => Operator::Greater,
                5 => Operator::GreaterOrEqual,
                _ => return None,
            };
            Step::Compare { register: register(data, CMP_SREG)?, operator, with: value(CMP_DATA)? }
        }
        b"range" => {
            let within = match find(data, RANGE_OP).and_then(number)? {
                0 => true,
                1 => false,
                _ => return None,
            };
            Step::Range {
                register: register(data, RANGE_SREG)?,
                within,
                from: value(RANGE_FROM)?,
                to: value(RANGE_TO)?,
            }
        }
        b"bitwise" => {
            let (mask, xor): (Box<[u8]>, Box<[u8]>) = (value(BITWISE_MASK)?, value(BITWISE_XOR)?);
            let length = find(data, BITWISE_LEN).and_then(number).and_then(|length| usize::try_from(length).ok())?;
            // Operation 0 is mask and xor (the only one before 5.6).
            if find(data, BITWISE_OP).and_then(number).unwrap_or(0) != 0 || mask.len() != length || xor.len() != length
            {
                return None;
            }
            Step::Bitwise { from: register(data, BITWISE_SREG)?, to: register(data, BITWISE_DREG)?, mask, xor }
        }
        _ => return None,
    })
}

/// Returns the register that an expression writes, if it writes one alone.
fn written(name: &[u8], data: &[u8]) -> Option<usize> {
    let attribute = match name {
        b"meta" | b"payload" | b"ct" | b"rt" | b"fib" | b"numgen" | b"exthdr" | b"xfrm" | b"osf" => META_DREG,
        b"socket" | b"hash" | b"byteorder" | b"bitwise" | b"tunnel" => BITWISE_DREG,
        _ => return None,
    };
    register(data, attribute)
}

/// Returns the first word of the register in attribute `kind` (`nft_parse_register`).
fn register(data: &[u8], kind: u16) -> Option<usize> {
    let register = find(data, kind).and_then(number)?;
    let word = if register <= REG_4 { register * 4 } else { register.checked_sub(4)? };
    usize::try_from(word).ok().filter(|word| *word < REGISTER_WORDS)
}
