//! The TCP listeners alone: how many connections wait for accept(), and how many may
//! (`inet_csk_diag_fill` puts `sk_ack_backlog` and `sk_max_ack_backlog` into the two queues). No file
//! has the limit.

use std::io;
use std::net::IpAddr;

use super::{inet, tcp};
use crate::netlink::{Socket, Table};
use crate::sockets::proto::Proto;
use crate::sockets::row::{Kind, Row};
use tracer_stream as stream;

/// `1 << TCP_LISTEN`
const LISTENERS: u32 = 1 << 10;

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its address; unspecified if it listens at all addresses.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Connections that wait for accept().
    pub waiting: u32,
    /// How many may wait. The kernel takes one more.
    pub limit: u32,
    /// Inode of its file.
    pub inode: u64,
}

/// Returns every TCP listener, IPv4 and IPv6, of this thread's namespace.
///
/// # Errors
/// Errors of the socket, and errors that the kernel answers with.
pub fn read() -> io::Result<Table<Listener>> {
    let mut socket = Socket::open(libc::NETLINK_SOCK_DIAG)?;
    let mut rows = Vec::new();
    let changed = tcp::ask(&mut socket, LISTENERS, false, |bytes| {
        rows.extend(inet::parse(bytes, Proto::Tcp).and_then(listener));
    })?;
    Ok(Table { rows, changed })
}

pub(super) fn listener(row: Row) -> Option<Listener> {
    let Kind::Inet(inet) = row.kind else { return None };
    // Shows a v4-mapped address as it was bound.
    let address = match stream::address(inet.family, inet.laddr) {
        (IpAddr::V4(address), true) => address.to_ipv6_mapped().into(),
        (address, _) => address,
    };
    Some(Listener { address, port: inet.lport, waiting: row.recv_q, limit: row.send_q, inode: row.inode })
}
