//! `SOCK_DIAG_BY_FAMILY` for TCP listeners: how many connections wait for accept(), and how many may
//! (include/uapi/linux/inet_diag.h; `inet_csk_diag_fill` has `sk_ack_backlog` and
//! `sk_max_ack_backlog` in the two queues). The limit is in no file.

use std::io;
use std::net::IpAddr;

use super::message::{address, u32_at};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `struct inet_diag_req_v2`: u8 family, u8 protocol, u8 ext, u8 pad, u32 states, id (48 bytes).
const REQUEST: usize = 56;
/// `1 << TCP_LISTEN`.
const LISTENERS: u32 = 1 << 10;
/// Where things are in `struct inet_diag_msg`: u8 family, u8 state, u8 timer, u8 retrans, id (be16
/// source port, be16 destination port, be32 source[4], be32 destination[4], u32 device, u32
/// cookie[2]), u32 expires, u32 rqueue, u32 wqueue, u32 uid, u32 inode.
const SPORT: usize = 4;
const SOURCE: usize = 8;
const RQUEUE: usize = 56;
const WQUEUE: usize = 60;
const INODE: usize = 68;

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its address; unspecified for all.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Connections that wait for accept().
    pub waiting: u32,
    /// How many may wait. The kernel takes one more.
    pub limit: u32,
    /// Inode of its file.
    pub inode: u32,
}

/// Every TCP listener, IPv4 and IPv6.
///
/// # Errors
/// Those of the socket, and what the kernel answers.
pub fn read() -> io::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut body = [0; REQUEST];
        let head = [u8::try_from(family).unwrap_or(0), 6, 0, 0];
        body.iter_mut().zip(head.into_iter().chain(LISTENERS.to_ne_bytes())).for_each(|(to, byte)| *to = byte);
        match super::dump(libc::NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, &body, SOCK_DIAG_BY_FAMILY, |payload| {
            listeners.extend(parse(payload));
        }) {
            // A kernel without this family.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) && family == libc::AF_INET6 => {}
            result => result?,
        }
    }
    Ok(listeners)
}

pub(in super::super) fn parse(payload: &[u8]) -> Option<Listener> {
    let length = match i32::from(*payload.first()?) {
        libc::AF_INET => 4,
        libc::AF_INET6 => 16,
        _ => return None,
    };
    Some(Listener {
        address: address(payload.get(SOURCE..SOURCE + length)?)?,
        port: u16::from_be_bytes(payload.get(SPORT..)?.first_chunk::<2>().copied()?),
        waiting: u32_at(payload, RQUEUE)?,
        limit: u32_at(payload, WQUEUE)?,
        inode: u32_at(payload, INODE)?,
    })
}
