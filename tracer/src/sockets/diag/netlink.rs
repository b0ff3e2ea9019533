//! The netlink socket and its dumps.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;

use super::message::{Message, Messages, request};
use super::{DiagError, inet, local};
use crate::sockets::proto::Proto;
use crate::sockets::row::Row;

/// The kernel fills at most 32 KiB at a time, whatever is offered (`netlink_recvmsg`).
const BUFFER: usize = 32 * 1024;

/// A NETLINK_SOCK_DIAG socket in the namespace of the thread that opened it.
#[derive(Debug)]
pub struct Diag {
    socket: OwnedFd,
    /// Of this very socket, which is in the tables too.
    inode: u64,
    sequence: u32,
    buffer: Vec<u8>,
}

/// Sockets that were told, and messages that were too short to be one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dumped {
    /// Rows given.
    pub rows: u64,
    /// Messages that could not be understood.
    pub malformed: u64,
}

impl Diag {
    /// Opens one.
    ///
    /// # Errors
    /// If this kernel has none.
    pub fn open() -> Result<Self, DiagError> {
        // SAFETY: no pointers.
        let fd =
            unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_SOCK_DIAG) };
        if fd < 0 {
            return Err(DiagError::of(io::Error::last_os_error()));
        }
        // SAFETY: the descriptor is new and nobody else knows it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let inode = File::from(socket.try_clone().map_err(DiagError::Io)?).metadata().map_err(DiagError::Io)?.ino();
        Ok(Self { socket, inode, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// Gives every socket of `proto` to `sink`, TCP ones with their details if `details`. `netns` is
    /// what the rows are marked with.
    ///
    /// # Errors
    /// If this kernel cannot tell; nothing was given then, unless it failed in the middle.
    pub fn dump(
        &mut self,
        proto: Proto,
        details: bool,
        netns: u32,
        mut sink: impl FnMut(Row),
    ) -> Result<Dumped, DiagError> {
        let mut dumped = Dumped::default();
        let mut take = |row: Option<Row>| match row {
            Some(mut row) => {
                row.netns = netns;
                dumped.rows += 1;
                sink(row);
            }
            None => dumped.malformed += 1,
        };
        if let Some(number) = inet::protocol(proto) {
            for family in [libc::AF_INET, libc::AF_INET6] {
                let asked = self.ask(&inet::request(family, number, details), |bytes| take(inet::parse(bytes, proto)));
                match asked {
                    // A kernel without IPv6.
                    Err(DiagError::Unsupported) if family == libc::AF_INET6 => {}
                    asked => asked?,
                }
            }
            return Ok(dumped);
        }
        match proto {
            Proto::Unix => self.ask(&local::unix_request(), |bytes| take(local::unix(bytes)))?,
            Proto::Packet => self.ask(&local::packet_request(), |bytes| take(local::packet(bytes)))?,
            Proto::Netlink => {
                // A socket that has joined multicast groups is told twice (`__netlink_diag_dump`). And
                // the one that asks is nobody's whom the user would look for.
                let mut seen = HashSet::from([self.inode]);
                self.ask(&local::netlink_request(), |bytes| match local::netlink(bytes) {
                    Some(row) if row.inode != 0 && !seen.insert(row.inode) => {}
                    row => take(row),
                })?;
            }
            _ => return Err(DiagError::Unsupported),
        }
        Ok(dumped)
    }

    fn ask(&mut self, payload: &[u8], mut socket: impl FnMut(&[u8])) -> Result<(), DiagError> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(self.sequence, payload);
        // SAFETY: readable for the length given.
        let sent = unsafe { libc::send(self.socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) };
        if sent < 0 {
            return Err(DiagError::of(io::Error::last_os_error()));
        }
        loop {
            let buffer = &mut self.buffer;
            // SAFETY: writable for the length given. MSG_TRUNC makes the kernel tell the whole length.
            let n = unsafe {
                let flags = libc::MSG_TRUNC;
                libc::recv(self.socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags)
            };
            let n = match usize::try_from(n) {
                Ok(n) => n,
                Err(_) => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => continue,
                    error => return Err(DiagError::of(error)),
                },
            };
            let Some(bytes) = buffer.get(..n) else {
                return Err(DiagError::Io(io::Error::other("a message larger than its buffer")));
            };
            for message in (Messages { bytes, sequence: self.sequence }) {
                match message {
                    Message::Socket(bytes) => socket(bytes),
                    Message::Done(0) => return Ok(()),
                    Message::Done(errno) => return Err(DiagError::of(io::Error::from_raw_os_error(errno))),
                    Message::Other => {}
                }
            }
        }
    }
}
