//! unix_diag, packet_diag and netlink_diag (`include/uapi/linux/*_diag.h`).

use super::cookie_at;
use crate::sockets::proto::{Proto, State};
use crate::sockets::row::{Kind, Netlink, Packet, Row, Unix};
use tracer_tables::netlink::attribute::{Attributes, u8_at, u16_at, u32_at};

/// `UDIAG_SHOW_NAME | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN | UDIAG_SHOW_UID`
const UNIX_SHOW: u32 = 0x1 | 0x4 | 0x10 | 0x40;
/// `PACKET_SHOW_INFO | PACKET_SHOW_MEMINFO`
const PACKET_SHOW: u32 = 0x1 | 0x10;
/// `NDIAG_SHOW_MEMINFO | NDIAG_SHOW_GROUPS`
const NETLINK_SHOW: u32 = 0x1 | 0x2;
/// `NDIAG_PROTO_ALL`
const NETLINK_ALL: u8 = u8::MAX;
/// `SK_MEMINFO_RMEM_ALLOC`, `SK_MEMINFO_WMEM_ALLOC`: words of the meminfo attributes.
const RMEM_ALLOC: usize = 0;
const WMEM_ALLOC: usize = 8;

/// Builds a `struct unix_diag_req`.
pub(super) fn unix_request() -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[0] = libc::AF_UNIX as u8;
    bytes[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    bytes[12..16].copy_from_slice(&UNIX_SHOW.to_ne_bytes());
    bytes
}

/// Parses a `struct unix_diag_msg` (16 bytes) with its attributes.
pub(super) fn unix(bytes: &[u8]) -> Option<Row> {
    let mut unix = Unix { kind: u16::from(u8_at(bytes, 1)?), path: None, peer: None };
    let state = State::of_sk_state(Proto::Unix, u8_at(bytes, 2)?);
    let (mut recv_q, mut send_q, mut uid) = (0, 0, None);
    for (kind, payload) in Attributes::of(bytes.get(16..)?) {
        match kind {
            0 => unix.path = Some(unix_name(payload)).filter(|name| !name.is_empty()),
            2 => unix.peer = u32_at(payload, 0).map(u64::from).filter(|inode| *inode != 0),
            4 => (recv_q, send_q) = (u32_at(payload, 0)?, u32_at(payload, 4)?),
            7 => uid = u32_at(payload, 0),
            _ => {}
        }
    }
    Some(Row {
        proto: Proto::Unix,
        state,
        netns: 0,
        inode: u64::from(u32_at(bytes, 4)?),
        cookie: cookie_at(bytes, 8),
        uid,
        recv_q,
        send_q,
        kind: Kind::Unix(Box::new(unix)),
    })
}

/// Decodes a name: a path ends with a zero byte; an abstract name begins with a zero byte, and shows each as `@`.
pub(super) fn unix_name(name: &[u8]) -> String {
    if name.first() == Some(&0) {
        let name: Vec<u8> = name.iter().map(|&c| if c == 0 { b'@' } else { c }).collect();
        return String::from_utf8_lossy(&name).into_owned();
    }
    let end = name.iter().position(|&c| c == 0).unwrap_or(name.len());
    String::from_utf8_lossy(name.get(..end).unwrap_or_default()).into_owned()
}

/// Builds a `struct packet_diag_req`.
pub(super) fn packet_request() -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[0] = libc::AF_PACKET as u8;
    bytes[8..12].copy_from_slice(&PACKET_SHOW.to_ne_bytes());
    bytes
}

/// Parses a `struct packet_diag_msg` (16 bytes) with its attributes.
pub(super) fn packet(bytes: &[u8]) -> Option<Row> {
    let mut packet = Packet { kind: u16::from(u8_at(bytes, 1)?), protocol: u16_at(bytes, 2)?, ifindex: 0 };
    let (mut recv_q, mut uid) = (0, None);
    for (kind, payload) in Attributes::of(bytes.get(16..)?) {
        match kind {
            0 => packet.ifindex = u32_at(payload, 0)?,
            5 => uid = u32_at(payload, 0),
            6 => recv_q = u32_at(payload, RMEM_ALLOC)?,
            _ => {}
        }
    }
    Some(Row {
        proto: Proto::Packet,
        state: State::Unconn,
        netns: 0,
        inode: u64::from(u32_at(bytes, 4)?),
        cookie: cookie_at(bytes, 8),
        uid,
        recv_q,
        send_q: 0,
        kind: Kind::Packet(packet),
    })
}

/// Builds a `struct netlink_diag_req`.
pub(super) fn netlink_request() -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[0] = libc::AF_NETLINK as u8;
    bytes[1] = NETLINK_ALL;
    bytes[8..12].copy_from_slice(&NETLINK_SHOW.to_ne_bytes());
    bytes
}

/// Parses a `struct netlink_diag_msg` (28 bytes) with its attributes.
pub(super) fn netlink(bytes: &[u8]) -> Option<Row> {
    let mut netlink = Netlink { protocol: u8_at(bytes, 2)?, portid: u32_at(bytes, 4)?, groups: 0 };
    let (mut recv_q, mut send_q) = (0, 0);
    for (kind, payload) in Attributes::of(bytes.get(28..)?) {
        match kind {
            0 => (recv_q, send_q) = (u32_at(payload, RMEM_ALLOC)?, u32_at(payload, WMEM_ALLOC)?),
            1 => netlink.groups = u32_at(payload, 0).unwrap_or(0),
            _ => {}
        }
    }
    Some(Row {
        proto: Proto::Netlink,
        state: State::Unconn,
        netns: 0,
        inode: u64::from(u32_at(bytes, 16)?),
        cookie: cookie_at(bytes, 20),
        uid: None,
        recv_q,
        send_q,
        kind: Kind::Netlink(netlink),
    })
}
