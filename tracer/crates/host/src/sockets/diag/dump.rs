//! The dumps of sock_diag, one protocol after another.

use std::collections::HashSet;

use rustix::thread::CapabilitySet;

use super::by_family::{ask, both_families};
use super::{DiagError, inet, local, tcp};
use crate::netlink::Socket;
use crate::sockets::gathered::Gathered;
use crate::sockets::proto::Proto;
use crate::sockets::row::Row;
use crate::sockets::source::Ask;
use tracer_privilege::capabilities;

/// A NETLINK_SOCK_DIAG socket in the namespace of the opening thread.
#[derive(Debug)]
pub struct Diag {
    socket: Socket,
    /// The inode of this netlink socket, which is in the tables too.
    inode: u64,
}

/// The result of a dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dumped {
    /// Rows appended.
    pub rows: usize,
    /// Messages that the parser did not understand.
    pub malformed: u64,
    /// The table changed meanwhile, says the kernel: rows may be missing or doubled.
    pub changed: bool,
}

impl Diag {
    /// Opens the socket.
    ///
    /// # Errors
    /// If this kernel has no sock_diag.
    pub fn open() -> Result<Self, DiagError> {
        // To an opener with CAP_NET_ADMIN the kernel reports more of each socket, such as its MD5 keys
        // (`tcp_diag_get_aux`), which costs a look at one more cache line. The opener's capabilities count.
        let open = || Socket::open(libc::NETLINK_SOCK_DIAG);
        let socket = capabilities::without(CapabilitySet::NET_ADMIN, open).map_err(DiagError::of)?;
        let inode = socket.inode().map_err(DiagError::Io)?;
        Ok(Self { socket, inode })
    }

    /// Appends every socket of `proto` to `rows`, marked with `netns`; TCP sockets have their details if `ask` wants them.
    ///
    /// # Errors
    /// If this kernel has no handler for `proto`; nothing is appended then, unless the dump fails in the middle.
    pub fn dump(&mut self, proto: Proto, ask_for: &Ask, netns: u32, rows: &mut Gathered) -> Result<Dumped, DiagError> {
        let before = rows.len();
        let mut malformed = 0;
        if proto == Proto::Tcp {
            let states = if ask_for.time_wait { inet::STATES } else { inet::LIVE };
            let (mut read, changed) =
                tcp::rows(&mut self.socket, states, ask_for.details, netns, rows.key()).map_err(DiagError::of)?;
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
                // The kernel lists a socket with multicast groups twice (`__netlink_diag_dump`). The
                // socket that asks is tracer's own and would only confuse the user.
                let mut seen = HashSet::from([self.inode]);
                ask(socket, &local::netlink_request(), |bytes| match local::netlink(bytes) {
                    Some(row) if row.inode != 0 && !seen.insert(row.inode) => {}
                    row => take(row),
                })
            }
            _ => {
                let number = inet::protocol(proto).ok_or(DiagError::Unsupported)?;
                both_families(|family| {
                    let request = inet::request(family, number, inet::STATES, ask_for.details);
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
    /// If this kernel cannot list them.
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
