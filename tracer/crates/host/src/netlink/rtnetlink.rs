//! Asks for the tables of rtnetlink, of this thread's namespace.

use std::io;

use tracer_tables::netlink::{
    addr::{self, Address},
    link::{self, Link},
    neigh::{self, Neighbour},
    qdisc::{self, Qdisc},
};

use super::{Socket, Table};

/// Reads every address.
///
/// # Errors
/// Errors of the socket, and errors that the kernel answers with.
pub fn addresses() -> io::Result<Table<Address>> {
    Socket::open(libc::NETLINK_ROUTE)?.table(addr::GET, &[0; addr::HEADER], addr::NEW, addr::parse)
}

/// Reads every device.
///
/// # Errors
/// Errors of the socket, and errors that the kernel answers with.
pub fn links() -> io::Result<Table<Link>> {
    Socket::open(libc::NETLINK_ROUTE)?.table(link::GET, &[0; link::HEADER], link::NEW, link::parse)
}

/// Reads every neighbour that `ip neigh` shows.
///
/// # Errors
/// Errors of the socket, and errors that the kernel answers with.
pub fn neighbours() -> io::Result<Table<Neighbour>> {
    let shown = |payload: &[u8]| neigh::parse(payload).filter(Neighbour::is_shown);
    Socket::open(libc::NETLINK_ROUTE)?.table(neigh::GET, &[0; neigh::HEADER], neigh::NEW, shown)
}

/// Reads every queueing discipline, except for those that a classful one makes for itself: the kernel leaves them out.
///
/// # Errors
/// Errors of the socket, and errors that the kernel answers with.
pub fn qdiscs() -> io::Result<Table<Qdisc>> {
    Socket::open(libc::NETLINK_ROUTE)?.table(qdisc::GET, &[0; qdisc::HEADER], qdisc::NEW, qdisc::parse)
}
