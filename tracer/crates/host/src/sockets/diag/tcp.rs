//! The TCP sockets of both families in one walk of the kernel's table.
//!
//! sock_diag's own request names a family: two requests walk the whole table twice, and most of the
//! cost is looking at sockets that are in no cache. The request that is older than sock_diag names no
//! family (`inet_diag_dump_compat`); `ss` uses it, too.

use std::io;

use super::by_family::both_families;
use super::{by_family, inet, is_unsupported};
use crate::netlink::{Datagram, Socket};
use crate::sockets::order::Key;
use crate::sockets::proto::Proto;
use crate::sockets::row::Row;
use crate::sockets::shared::{self, Batch};
use tracer_tables::netlink::message::Answer;

/// The type of requests and answers (`include/uapi/linux/inet_diag.h`).
const TCPDIAG_GETSOCK: u16 = 18;
/// `IPPROTO_TCP`
const TCP: u8 = 6;

impl Batch for Datagram {
    fn new() -> Self {
        Self::new()
    }

    fn each(&self, record: impl FnMut(&[u8])) {
        // The receiver has already handled everything but the rows.
        let _ = Answer::new(self.sequence, self.kind).take(self.bytes(), record);
    }
}

/// Gives the `struct inet_diag_msg` of every TCP socket in one of `states`, a bit each, to `each`;
/// `true` if the table changed meanwhile.
pub(super) fn ask(diag: &mut Socket, states: u32, details: bool, mut each: impl FnMut(&[u8])) -> io::Result<bool> {
    match diag.dump(TCPDIAG_GETSOCK, &inet::old_request(states, details), TCPDIAG_GETSOCK, &mut each) {
        // The kernel refuses before it gives any row.
        Err(error) if is_unsupported(&error) => {
            both_families(|family| by_family::ask(diag, &inet::request(family, TCP, states, details), &mut each))
        }
        asked => asked,
    }
}

/// Reads the rows of all TCP sockets in one of `states`, a bit each, marked with `netns` and in the order of `key`; two threads read if there are
/// many. `true`: the table changed meanwhile.
pub(super) fn rows(
    diag: &mut Socket,
    states: u32,
    details: bool,
    netns: u32,
    key: Option<Key>,
) -> io::Result<(shared::Read, bool)> {
    shared::read(
        netns,
        key,
        |payload| inet::parse(payload, Proto::Tcp).map(|row| Row { netns, ..row }),
        |each| {
            let body = inet::old_request(states, details);
            match diag.dump_datagrams(TCPDIAG_GETSOCK, &body, TCPDIAG_GETSOCK, &mut *each) {
                Err(error) if is_unsupported(&error) => both_families(|family| {
                    let body = inet::request(family, TCP, states, details);
                    let kind = by_family::SOCK_DIAG_BY_FAMILY;
                    diag.dump_datagrams(kind, &body, kind, &mut *each)
                }),
                asked => asked,
            }
        },
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{TcpListener, TcpStream};

    use super::super::by_family::ask as ask_of;
    use super::*;

    /// Both requests give the same rows for this process's sockets, of both families.
    #[test]
    fn one_walk_tells_what_two_tell() {
        let listeners = ["127.0.0.1:0", "[::1]:0"].map(|at| TcpListener::bind(at).unwrap());
        let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        let _held = addresses.map(|address| TcpStream::connect(address).unwrap());
        let ports = addresses.map(|address| address.port());
        let own = |row: Option<Row>| row.filter(|row| ports.contains(&row.inet().unwrap().lport));
        let shown = |row: &Row| {
            let inet = row.inet().unwrap();
            (row.cookie, row.state as u8, inet.family, inet.lport, inet.rport, row.recv_q, row.send_q, row.inode)
        };
        let mut diag = Socket::open(libc::NETLINK_SOCK_DIAG).unwrap();
        let (mut one, mut two) = (BTreeSet::new(), BTreeSet::new());
        ask(&mut diag, inet::STATES, true, |bytes| {
            one.extend(
                own(inet::parse(bytes, Proto::Tcp)).inspect(|row| assert!(row.tcp().is_some())).map(|r| shown(&r)),
            );
        })
        .unwrap();
        both_families(|family| {
            ask_of(&mut diag, &inet::request(family, TCP, inet::STATES, true), |bytes| {
                two.extend(own(inet::parse(bytes, Proto::Tcp)).map(|row| shown(&row)));
            })
        })
        .unwrap();
        assert_eq!(one, two);
        assert_eq!(one.len(), 4, "two listeners and the accepting ends");
        let (mut read, _) = rows(&mut diag, inet::STATES, true, 0, None).unwrap();
        let (rows, _) = read.rows.take(0).in_order();
        let shared: BTreeSet<_> = rows.into_iter().filter_map(|row| own(Some(row))).map(|row| shown(&row)).collect();
        assert_eq!(one, shared);
        let mut listening = 0;
        ask(&mut diag, 1 << 10, false, |bytes| {
            listening += usize::from(own(inet::parse(bytes, Proto::Tcp)).is_some());
        })
        .unwrap();
        assert_eq!(listening, 2);
    }
}
