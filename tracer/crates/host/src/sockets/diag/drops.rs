//! The kernel's own count of the packets that each TCP listener and UDP socket dropped (`sk_drops`,
//! the last word of `INET_DIAG_SKMEMINFO`).

use std::io;

use tracer_common::record::Tuple;

use super::{by_family, inet};
use crate::netlink::Socket;
use crate::sockets::proto::Proto;
use crate::sockets::row::Kind;
use tracer_tables::netlink::attribute::{Attributes, u32_at};

/// `INET_DIAG_SKMEMINFO` as a bit of the extensions, and their offset in the request.
const SKMEMINFO: u16 = 7;
const EXTENSIONS: usize = 2;
/// `SK_MEMINFO_DROPS`, a word of it, since Linux 4.6.
const DROPS: usize = 8 * 4;
/// `struct inet_diag_msg`
const MESSAGE: usize = 72;

/// The account of one socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Addresses and ports; the namespace is 0.
    pub tuple: Tuple,
    /// The kernel's number for the socket, never used twice.
    pub cookie: u64,
    /// Inode of its file; 0 if it has none.
    pub inode: u64,
    /// Packets that the socket has dropped since it was made: a 32-bit number that wraps.
    pub drops: u32,
    /// For a listener: connections that wait for accept(), and the limit. The kernel takes one more.
    pub queue: Option<(u32, u32)>,
}

/// Returns every TCP listener of this thread's namespace.
///
/// # Errors
/// Errors of the socket, and errors that the kernel answers with.
pub fn listeners() -> io::Result<Vec<Account>> {
    read(Proto::Tcp, inet::LISTEN)
}

/// Returns every UDP socket of this thread's namespace.
///
/// # Errors
/// Errors of the socket, and errors that the kernel answers with.
pub fn datagrams() -> io::Result<Vec<Account>> {
    read(Proto::Udp, inet::STATES)
}

fn read(proto: Proto, states: u32) -> io::Result<Vec<Account>> {
    let number = inet::protocol(proto).ok_or(io::ErrorKind::Unsupported)?;
    let mut socket = Socket::open(libc::NETLINK_SOCK_DIAG)?;
    let mut accounts = Vec::new();
    // A table that changed meanwhile repeats or lacks some sockets: the next look has them.
    by_family::both_families(|family| {
        let mut request = inet::request(family, number, states, false);
        request[EXTENSIONS] = 1 << (SKMEMINFO - 1);
        by_family::ask(&mut socket, &request, |bytes| accounts.extend(account(bytes, proto)))
    })?;
    Ok(accounts)
}

fn account(bytes: &[u8], proto: Proto) -> Option<Account> {
    let row = inet::parse(bytes, proto)?;
    let Kind::Inet(at) = &row.kind else { return None };
    let (_, memory) = Attributes::of(bytes.get(MESSAGE..)?).find(|(kind, _)| *kind == SKMEMINFO)?;
    Some(Account {
        tuple: Tuple {
            laddr: at.laddr,
            raddr: at.raddr,
            lport: at.lport,
            rport: at.rport,
            family: at.family,
            reserved: [0; 3],
            netns: 0,
            ifindex: at.ifindex,
        },
        cookie: row.cookie?,
        inode: row.inode,
        drops: u32_at(memory, DROPS)?,
        queue: (proto == Proto::Tcp).then_some((row.recv_q, row.send_q)),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn the_kernel_has_an_account_of_each_socket() {
        let (listener, socket) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("[::1]:0").unwrap());
        let (tcp, udp) = (listener.local_addr().unwrap().port(), socket.local_addr().unwrap().port());
        let of = |accounts: Vec<Account>, port| accounts.into_iter().find(|account| account.tuple.lport == port);
        let listens = of(listeners().unwrap(), tcp).unwrap();
        assert_eq!((listens.drops, listens.queue.map(|queue| queue.0), listens.tuple.family), (0, Some(0), 4));
        let receives = of(datagrams().unwrap(), udp).unwrap();
        assert_eq!((receives.drops, receives.queue, receives.tuple.family), (0, None, 6));
        assert!(listens.inode != 0 && listens.cookie != receives.cookie);
    }
}
