//! The dumps of sock_diag, one protocol after another.

use std::collections::HashSet;
use std::io;

use rustix::thread::CapabilitySet;

use super::{DiagError, inet, is_unsupported, local, tcp};
use crate::netlink::Socket;
use crate::privilege::capabilities;
use crate::sockets::gathered::Gathered;
use crate::sockets::proto::Proto;
use crate::sockets::row::Row;

/// Requests and answers alike.
pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// A NETLINK_SOCK_DIAG socket in the namespace of the thread that opened it.
#[derive(Debug)]
pub struct Diag {
    socket: Socket,
    /// Of this very socket, which is in the tables too.
    inode: u64,
}

/// Sockets that were told, and what was wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dumped {
    /// Rows appended.
    pub rows: usize,
    /// Messages that could not be understood.
    pub malformed: u64,
    /// The kernel said that the table changed meanwhile: rows may be missing or have come twice.
    pub changed: bool,
}

impl Diag {
    /// Opens one.
    ///
    /// # Errors
    /// If this kernel has none.
    pub fn open() -> Result<Self, DiagError> {
        // Who may administer the network is told more of each socket, its MD5 keys among it (`tcp_diag_get_aux`), for
        // which the kernel looks at one more cache line. It asks what the opener of this socket could do.
        let open = || Socket::open(libc::NETLINK_SOCK_DIAG);
        let socket = capabilities::without(CapabilitySet::NET_ADMIN, open).map_err(DiagError::of)?;
        let inode = socket.inode().map_err(DiagError::Io)?;
        Ok(Self { socket, inode })
    }

    /// Appends every socket of `proto` to `rows`, TCP ones with their details if `details`. `netns` is
    /// what the rows are marked with.
    ///
    /// # Errors
    /// If this kernel cannot tell; nothing was appended then, unless it failed in the middle.
    pub fn dump(&mut self, proto: Proto, details: bool, netns: u32, rows: &mut Gathered) -> Result<Dumped, DiagError> {
        let before = rows.len();
        let mut malformed = 0;
        if proto == Proto::Tcp {
            let (mut read, changed) = tcp::rows(&mut self.socket, details, netns, rows.key()).map_err(DiagError::of)?;
            rows.append(read.rows.take(netns));
            return Ok(Dumped { rows: rows.len() - before, malformed: read.malformed, changed });
        }
        let mut take = |row: Option<Row>| match row {
            Some(row) => rows.push(Row { netns, ..row }),
            None => malformed += 1,
        };
        let socket = &mut self.socket;
        let changed = match proto {
            Proto::Unix => ask(socket, &local::unix_request(), |bytes| take(local::unix(bytes))),
            Proto::Packet => ask(socket, &local::packet_request(), |bytes| take(local::packet(bytes))),
            Proto::Netlink => {
                // A socket that has joined multicast groups is told twice (`__netlink_diag_dump`). And
                // the one that asks is nobody's whom the user would look for.
                let mut seen = HashSet::from([self.inode]);
                ask(socket, &local::netlink_request(), |bytes| match local::netlink(bytes) {
                    Some(row) if row.inode != 0 && !seen.insert(row.inode) => {}
                    row => take(row),
                })
            }
            _ => {
                let number = inet::protocol(proto).ok_or(DiagError::Unsupported)?;
                both_families(|family| {
                    let request = inet::request(family, number, inet::STATES, details);
                    ask(socket, &request, |bytes| take(inet::parse(bytes, proto)))
                })
            }
        };
        let changed = changed.map_err(DiagError::of)?;
        Ok(Dumped { rows: rows.len() - before, malformed, changed })
    }

    /// Appends every TCP socket that listens to `rows`.
    ///
    /// # Errors
    /// If this kernel cannot tell.
    pub fn listeners(&mut self, netns: u32, rows: &mut Gathered) -> Result<Dumped, DiagError> {
        let (before, mut malformed) = (rows.len(), 0);
        let changed = tcp::ask(&mut self.socket, inet::LISTEN, false, |bytes| match inet::parse(bytes, Proto::Tcp) {
            Some(row) => rows.push(Row { netns, ..row }),
            None => malformed += 1,
        });
        let changed = changed.map_err(DiagError::of)?;
        Ok(Dumped { rows: rows.len() - before, malformed, changed })
    }
}

/// Asks for IPv4 and for IPv6, which a kernel may not have; `true` if a table changed meanwhile.
pub(super) fn both_families(mut ask: impl FnMut(libc::c_int) -> io::Result<bool>) -> io::Result<bool> {
    let changed = ask(libc::AF_INET)?;
    match ask(libc::AF_INET6) {
        Err(error) if is_unsupported(&error) => Ok(changed),
        asked => asked.map(|too| changed | too),
    }
}

/// Gives the payload of each answer to `socket`; `true` if the table changed meanwhile.
pub(super) fn ask(diag: &mut Socket, request: &[u8], socket: impl FnMut(&[u8])) -> io::Result<bool> {
    diag.dump(SOCK_DIAG_BY_FAMILY, request, SOCK_DIAG_BY_FAMILY, socket)
}
