//! The sockets with a port, in any state, including those that are merely bound.

use std::io;

use tracer_common::record::Tuple;
use tracer_tables::bound::Bound;

use super::{by_family, inet};
use crate::netlink::Socket;
use crate::sockets::proto::{Proto, State};
use crate::sockets::row::Kind;

/// TCP sockets that are bound and neither listen nor connect (`TCPF_BOUND_INACTIVE`): kernels before 6.8 have no table
/// of them, and ignore the bit.
const BOUND_INACTIVE: u32 = 1 << 13;
/// The local port in `struct inet_diag_req_v2`.
const SPORT: std::ops::Range<usize> = 8..10;

/// Returns every socket of `proto` with this local port, in this thread's namespace.
///
/// # Errors
/// Errors of the socket, and errors that the kernel answers with.
pub fn at_port(proto: Proto, port: u16) -> io::Result<Vec<Bound>> {
    let number = inet::protocol(proto).ok_or(io::ErrorKind::Unsupported)?;
    let mut socket = Socket::open(libc::NETLINK_SOCK_DIAG)?;
    let mut sockets = Vec::new();
    by_family::both_families(|family| {
        let mut request = inet::request(family, number, inet::STATES | BOUND_INACTIVE, false);
        request[SPORT].copy_from_slice(&port.to_be_bytes());
        by_family::ask(&mut socket, &request, |bytes| sockets.extend(bound(bytes, proto)))
    })?;
    Ok(sockets)
}

fn bound(bytes: &[u8], proto: Proto) -> Option<Bound> {
    let row = inet::parse(bytes, proto)?;
    let Kind::Inet(at) = &row.kind else { return None };
    Some(Bound {
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
        listens: row.state == State::Listen,
        v6only: at.v6only,
        inode: row.inode,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn a_port_has_its_listener_and_its_connections_and_no_others() {
        let (listener, other) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let at = listener.local_addr().unwrap();
        let (_client, _server) = (TcpStream::connect(at).unwrap(), listener.accept().unwrap());
        let sockets = at_port(Proto::Tcp, at.port()).unwrap();
        assert_eq!(sockets.iter().filter(|socket| socket.listens).count(), 1, "{sockets:?}");
        assert_eq!(sockets.iter().filter(|socket| !socket.listens && socket.inode != 0).count(), 1, "{sockets:?}");
        assert!(sockets.iter().all(|socket| socket.tuple.lport == at.port()), "{sockets:?}");
        drop(other);
    }

    #[test]
    fn udp_is_asked_apart() {
        let socket = UdpSocket::bind("[::]:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let found = at_port(Proto::Udp, port).unwrap();
        assert_eq!(found.iter().map(|one| (one.tuple.family, one.listens)).collect::<Vec<_>>(), [(6, false)]);
        assert_eq!(found.first().unwrap().v6only, Some(false));
    }
}
