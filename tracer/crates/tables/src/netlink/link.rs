//! `RTM_GETLINK`: the devices of this namespace (include/uapi/linux/if_link.h).

use super::attribute::{Attributes, text, u8_at, u16_at, u32_at, u64_at};

/// `RTM_NEWLINK`: the type of the answers.
pub const NEW: u16 = 16;
/// `RTM_GETLINK`: the type of the request.
pub const GET: u16 = 18;
/// Bytes of `struct ifinfomsg`: u8 family, u8 pad, u16 type, i32 index, u32 flags, u32 change.
pub const HEADER: usize = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_XDP: u16 = 43;
/// `IFLA_XDP_PROG_ID`, and the ids for each mode up to `IFLA_XDP_HW_PROG_ID`.
const XDP_PROG_ID: u16 = 4;
const XDP_HW_PROG_ID: u16 = 7;
const IFLA_OPERSTATE: u16 = 16;
/// `struct rtnl_link_stats64`, of 64-bit numbers.
const IFLA_STATS64: u16 = 23;
const RX_DROPPED: usize = 6 * 8;
const RX_MISSED: usize = 15 * 8;
/// `IFF_UP`, `IFF_LOOPBACK` and `IFF_RUNNING`.
const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_RUNNING: u32 = 0x40;

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub ifindex: u32,
    /// Its name. Hostile bytes.
    pub name: String,
    /// Whether it is set up.
    pub up: bool,
    /// Whether it can carry packets: the other end is up.
    pub running: bool,
    /// Whether it is the loopback device.
    pub loopback: bool,
    /// Largest packet, bytes.
    pub mtu: Option<u32>,
    /// RFC 2863 `ifOperStatus` in the kernel's words.
    pub operstate: Option<&'static str>,
    /// Received packets that were discarded; and, counted separately, those that found the device's own ring full.
    /// /proc/net/dev adds both up.
    pub rx_dropped: Option<(u64, u64)>,
    /// The number of its XDP program, if it has one.
    pub xdp: Option<u32>,
}

/// Parses an answer.
#[must_use]
pub fn parse(payload: &[u8]) -> Option<Link> {
    u16_at(payload, 2)?; // ARPHRD_*
    let (ifindex, flags) = (u32_at(payload, 4)?, u32_at(payload, 8)?);
    let mut link = Link {
        ifindex,
        name: String::new(),
        up: flags & IFF_UP != 0,
        running: flags & IFF_RUNNING != 0,
        loopback: flags & IFF_LOOPBACK != 0,
        mtu: None,
        operstate: None,
        rx_dropped: None,
        xdp: None,
    };
    for (kind, value) in Attributes::after(HEADER, payload) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_MTU => link.mtu = u32_at(value, 0),
            IFLA_STATS64 => link.rx_dropped = u64_at(value, RX_DROPPED).zip(u64_at(value, RX_MISSED)),
            IFLA_XDP => {
                let mut numbers =
                    Attributes::of(value).filter(|(kind, _)| (XDP_PROG_ID..=XDP_HW_PROG_ID).contains(kind));
                link.xdp = numbers.find_map(|(_, number)| u32_at(number, 0).filter(|number| *number != 0));
            }
            IFLA_OPERSTATE => link.operstate = u8_at(value, 0).and_then(operstate),
            _ => {}
        }
    }
    Some(link)
}

fn operstate(state: u8) -> Option<&'static str> {
    ["unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"].get(usize::from(state)).copied()
}
