//! A dropped packet as rules saw it, and whether a rule can have matched it.

use tracer_common::{
    drops::{Direction, DropRecord},
    packet::{ETH_P_IP, ETH_P_IPV6, Flow, HAS_PORTS, LATER_FRAGMENT, TRUNCATED},
};
use tracer_tables::netlink::nftables::{Load, Operator, REGISTER_WORDS, Step, Value};

use super::sets::{Answer, Lookup};
use super::{FORWARD, IPV4, IPV6, LOCAL_IN, LOCAL_OUT, POST_ROUTING, PRE_ROUTING};

const IPPROTO_ICMP: u8 = 1;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_ICMPV6: u8 = 58;
/// `NFT_DATA_VALUE_MAXLEN`: no expression writes more.
const LONGEST_VALUE: usize = 64;
/// `IFNAMSIZ`.
const NAME: usize = 16;

/// A packet as it was when it was dropped. The rule that dropped it saw it in this state.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a>(pub &'a DropRecord);

/// The role of a packet's device in a base chain's hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The packet came in by it.
    In,
    /// The packet is to go out by it.
    Out,
    /// Not known.
    Unknown,
}

/// Whether a rule matches a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// Certainly not.
    No,
    /// An operand is unknown.
    Maybe,
    /// Certainly.
    Yes,
}

/// Bytes of all registers.
const REGISTERS: usize = REGISTER_WORDS * 4;

/// Registers with partly known bytes: each byte has a bit in `known`.
#[derive(Clone, Copy)]
pub(super) struct Registers {
    bytes: [u8; REGISTERS],
    known: u128,
}

impl Registers {
    const UNKNOWN: Self = Self { bytes: [0; REGISTERS], known: 0 };

    fn get(&self, at: usize) -> Option<u8> {
        if at < REGISTERS && self.known >> at & 1 == 1 { self.bytes.get(at).copied() } else { None }
    }

    /// The answer of `lookup` for the key that begins in this register.
    pub fn look<'s>(&self, register: usize, lookup: &'s Lookup) -> Answer<'s> {
        let key: Option<Vec<u8>> =
            (0..lookup.key_length().min(REGISTERS)).map(|at| self.get(register * 4 + at)).collect();
        key.map_or(Answer::Unknown, |key| lookup.find(&key))
    }

    fn set(&mut self, at: usize, value: Option<u8>) {
        let Some(byte) = self.bytes.get_mut(at) else { return };
        match value {
            Some(value) => (*byte, self.known) = (value, self.known | 1 << at),
            None => self.known &= !(1 << at),
        }
    }

    /// Marks `length` bytes from this one on, and the rest of their register, as unknown.
    fn forget(&mut self, at: usize, length: usize) {
        for at in at..(at + length).min(REGISTERS) {
            self.known &= !(1 << at);
        }
    }
}

impl Packet<'_> {
    fn flow(&self) -> &Flow {
        &self.0.packet.flow
    }

    /// 4 or 6; 0 if it is no IP packet.
    pub fn family(&self) -> u8 {
        self.flow().family
    }

    /// Its direction.
    pub fn way(&self) -> Direction {
        Direction::from_number(self.0.direction)
    }

    /// The name of its device.
    pub fn device(&self) -> Option<&str> {
        let name = std::str::from_utf8(&self.0.iface).ok()?.trim_end_matches('\0');
        (!name.is_empty()).then_some(name)
    }

    fn whole(&self) -> bool {
        self.flow().flags & TRUNCATED == 0
    }

    /// Byte `at` of its network header.
    fn network(&self, at: usize) -> Option<u8> {
        let (packet, flow) = (&self.0.packet, self.flow());
        let byte = |address: [u32; 4], at: usize| address.get(at / 4)?.to_ne_bytes().get(at % 4).copied();
        match (flow.family, at) {
            (4, 8) | (6, 7) => Some(packet.ttl),
            (4, 9) => Some(flow.protocol),
            (4, 12..16) => byte(flow.src, at - 12),
            (4, 16..20) => byte(flow.dst, at - 16),
            (6, 8..24) => byte(flow.src, at - 8),
            (6, 24..40) => byte(flow.dst, at - 24),
            _ => None,
        }
    }

    /// Byte `at` of its transport header.
    fn transport(&self, at: usize) -> Option<u8> {
        let (packet, flow) = (&self.0.packet, self.flow());
        if flow.flags & LATER_FRAGMENT != 0 {
            return None;
        }
        let ports = flow.flags & HAS_PORTS != 0;
        match (flow.protocol, at) {
            (_, 0..2) if ports => flow.sport.to_be_bytes().get(at).copied(),
            (_, 2..4) if ports => flow.dport.to_be_bytes().get(at - 2).copied(),
            (IPPROTO_TCP, 4..8) if ports && self.whole() => packet.seq.to_be_bytes().get(at - 4).copied(),
            (IPPROTO_TCP, 13) if ports && self.whole() => Some(packet.tcp_flags),
            (IPPROTO_ICMP | IPPROTO_ICMPV6, 0) if self.whole() => Some(packet.icmp_type),
            (IPPROTO_ICMP | IPPROTO_ICMPV6, 1) if self.whole() => Some(packet.icmp_code),
            _ => None,
        }
    }

    /// Byte `at` of the loaded value, in a hook where the packet's device is `device`.
    fn byte(&self, what: Load, device: Device, at: usize) -> Option<u8> {
        let (record, flow) = (self.0, self.flow());
        let within = |offset: u32| usize::try_from(offset).ok()?.checked_add(at);
        let (side, known) = match what {
            Load::Iif | Load::IifName => (Device::In, self.device().is_some()),
            Load::Oif | Load::OifName => (Device::Out, self.device().is_some()),
            _ => (device, true),
        };
        if side != device || !known {
            return None;
        }
        match what {
            Load::Network(offset) => self.network(within(offset)?),
            Load::Transport(offset) => self.transport(within(offset)?),
            Load::Protocol => {
                let ethertype = match flow.family {
                    4 => ETH_P_IP,
                    6 => ETH_P_IPV6,
                    _ => return None,
                };
                ethertype.to_be_bytes().get(at).copied()
            }
            Load::NfProto => match flow.family {
                4 => Some(IPV4),
                6 => Some(IPV6),
                _ => None,
            },
            // Of IPv6, the protocol after the extension headers that were followed.
            Load::L4Proto => (flow.family == 4 || self.whole()).then_some(flow.protocol),
            Load::Iif | Load::Oif => record.ifindex.to_ne_bytes().get(at).copied().filter(|_| record.ifindex != 0),
            Load::IifName | Load::OifName => record.iface.get(at).copied(),
        }
    }

    /// Whether a rule with these steps matches it, and the resulting registers.
    pub(super) fn matches(&self, steps: &[Step], device: Device, sets: &[Lookup]) -> (Match, Registers) {
        let mut registers = Registers::UNKNOWN;
        let mut all = Match::Yes;
        for step in steps {
            let one = match step {
                Step::Load { what, register, length } => {
                    // A value shorter than a word is padded with zeros.
                    let filled = length.next_multiple_of(4);
                    let length = if matches!(what, Load::IifName | Load::OifName) { NAME } else { *length };
                    for at in 0..filled.max(length) {
                        let value = if at < length { self.byte(*what, device, at) } else { Some(0) };
                        registers.set(register * 4 + at, value);
                    }
                    Match::Yes
                }
                Step::Bitwise { from, to, mask, xor } => {
                    let source = registers;
                    for (at, (mask, xor)) in mask.iter().zip(xor).enumerate() {
                        let value = source.get(from * 4 + at).map(|value| value & mask ^ xor);
                        registers.set(to * 4 + at, if *mask == 0 { Some(*xor) } else { value });
                    }
                    Match::Yes
                }
                Step::Compare { register, operator, with } => compare(&registers, *register, *operator, with),
                Step::Range { register, within, from, to } => {
                    let inside = both(
                        compare(&registers, *register, Operator::GreaterOrEqual, from),
                        compare(&registers, *register, Operator::LessOrEqual, to),
                    );
                    if *within { inside } else { not(inside) }
                }
                Step::Opaque | Step::Limit { .. } => Match::Maybe,
                Step::Lookup { index, register, inverse, to, .. } => {
                    let answer = index.and_then(|index| sets.get(index));
                    let answer = answer.map_or(Answer::Unknown, |set| registers.look(*register, set));
                    if let Some(to) = to {
                        registers.forget(to * 4, LONGEST_VALUE);
                        if let Answer::Present(Value::Data(value), _) = answer {
                            for at in 0..value.len().next_multiple_of(4) {
                                registers.set(to * 4 + at, Some(value.get(at).copied().unwrap_or(0)));
                            }
                        }
                    }
                    match answer {
                        Answer::Unknown => Match::Maybe,
                        Answer::Absent => certainly(*inverse),
                        Answer::Present(..) => certainly(!*inverse),
                    }
                }
                Step::Unknown { register, .. } => {
                    registers.forget(register * 4, LONGEST_VALUE);
                    Match::Maybe
                }
                Step::Clobber => {
                    registers.known = 0;
                    Match::Maybe
                }
            };
            all = both(all, one);
            if all == Match::No {
                break;
            }
        }
        (all, registers)
    }
}

/// The role of the packet's device in hook `hook` of an IP family.
pub const fn device_in(hook: u32) -> Device {
    match hook {
        PRE_ROUTING | LOCAL_IN | FORWARD => Device::In,
        LOCAL_OUT | POST_ROUTING => Device::Out,
        _ => Device::Unknown,
    }
}

/// Registers compare as bytes do (`memcmp` in nft_cmp_eval).
fn compare(registers: &Registers, register: usize, operator: Operator, with: &[u8]) -> Match {
    let mut unknown = false;
    for (at, with) in with.iter().enumerate() {
        match &registers.get(register * 4 + at) {
            Some(byte) if byte == with => {}
            Some(byte) if !unknown || matches!(operator, Operator::Equal | Operator::NotEqual) => {
                return certainly(match operator {
                    Operator::Equal => false,
                    Operator::NotEqual => true,
                    Operator::Less | Operator::LessOrEqual => byte < with,
                    Operator::Greater | Operator::GreaterOrEqual => byte > with,
                });
            }
            // An unknown byte before it may decide.
            Some(_) => return Match::Maybe,
            None => unknown = true,
        }
    }
    if unknown {
        return Match::Maybe;
    }
    certainly(matches!(operator, Operator::Equal | Operator::LessOrEqual | Operator::GreaterOrEqual))
}

const fn certainly(matches: bool) -> Match {
    if matches { Match::Yes } else { Match::No }
}

const fn not(what: Match) -> Match {
    match what {
        Match::No => Match::Yes,
        Match::Maybe => Match::Maybe,
        Match::Yes => Match::No,
    }
}

/// Both match.
const fn both(a: Match, b: Match) -> Match {
    match (a, b) {
        (Match::No, _) | (_, Match::No) => Match::No,
        (Match::Yes, Match::Yes) => Match::Yes,
        _ => Match::Maybe,
    }
}
