//! `RTM_GETNEIGH`: the neighbours of this namespace, IPv4 and IPv6, with their states
//! (include/uapi/linux/neighbour.h; RFC 4861, 7.3.2).

use std::net::IpAddr;

use super::attribute::{Attributes, address, u8_at, u16_at, u32_at};

/// `RTM_NEWNEIGH`: the type of the answers.
pub const NEW: u16 = 28;
/// `RTM_GETNEIGH`: the type of the request.
pub const GET: u16 = 30;
/// Bytes of `struct ndmsg`: u8 family, u8 pad, u16 pad, i32 index, u16 state, u8 flags, u8 type.
pub const HEADER: usize = 12;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
/// The states, each a bit; no bit is `NONE`.
const STATES: [(u16, &str); 8] = [
    (0x01, "INCOMPLETE"),
    (0x02, "REACHABLE"),
    (0x04, "STALE"),
    (0x08, "DELAY"),
    (0x10, "PROBE"),
    (0x20, "FAILED"),
    (0x40, "NOARP"),
    (0x80, "PERMANENT"),
];
/// `RTN_MULTICAST`, `RTN_BROADCAST` and others are no neighbours; neighbours are unicast.
const NOARP: u16 = 0x40;

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Index of the device.
    pub ifindex: u32,
    /// Its address.
    pub address: IpAddr,
    /// Its hardware address; empty while unknown.
    pub lladdr: Vec<u8>,
    /// `NUD_*`.
    pub state: u16,
}

impl Neighbour {
    /// Returns the state's name in `ip neigh`.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        STATES.iter().find(|(bit, _)| self.state & bit != 0).map_or("NONE", |(_, name)| name)
    }

    /// Whether `ip neigh` shows it: not multicast addresses and devices without neighbours, which are `NOARP`.
    #[must_use]
    pub const fn is_shown(&self) -> bool {
        self.state & !NOARP != 0
    }

    /// Whether the neighbour has not answered, or not yet.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        matches!(self.state_name(), "FAILED" | "INCOMPLETE")
    }
}

/// Parses an answer.
#[must_use]
pub fn parse(payload: &[u8]) -> Option<Neighbour> {
    let family = i32::from(u8_at(payload, 0)?);
    if family != libc::AF_INET && family != libc::AF_INET6 {
        return None;
    }
    let (ifindex, state) = (u32_at(payload, 4)?, u16_at(payload, 8)?);
    payload.get(..HEADER)?;
    let (mut to, mut lladdr) = (None, Vec::new());
    for (kind, value) in Attributes::after(HEADER, payload) {
        match kind {
            NDA_DST => to = address(value),
            NDA_LLADDR => lladdr = value.to_vec(),
            _ => {}
        }
    }
    Some(Neighbour { ifindex, address: to?, lladdr, state })
}
