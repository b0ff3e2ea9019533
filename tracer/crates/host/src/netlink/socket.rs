//! A netlink socket of the thread's network namespace, and its dumps.

use std::fs::File;
use std::io;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use tracer_tables::netlink::message::{Answer, question, request};

/// Room for one datagram: the kernel makes dumps of at most 32 KiB (`netlink_dump`), unless a single
/// message is larger.
const ROOM: usize = 64 * 1024;
/// The longest wait for an answer of the kernel.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a table that changes during the dump is requested.
pub(super) const ATTEMPTS: u32 = 4;

/// A netlink socket in the namespace of the opening thread. It serves any number of dumps.
#[derive(Debug)]
pub struct Socket {
    socket: OwnedFd,
    sequence: u32,
    buffer: Datagram,
}

/// A datagram of the answer to a dump, or room for one.
#[derive(Debug)]
pub struct Datagram {
    bytes: Vec<u8>,
    /// Type of the wanted messages.
    pub(crate) kind: u16,
    /// Number of the request.
    pub(crate) sequence: u32,
}

impl Datagram {
    /// Makes room for a datagram.
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::with_capacity(ROOM), kind: 0, sequence: 0 }
    }

    /// Returns the received bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[cfg(test)]
    pub(crate) fn fill(&mut self, bytes: Vec<u8>, kind: u16, sequence: u32) {
        *self = Self { bytes, kind, sequence };
    }
}

/// The rows of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Whether the table changed during each dump: rows may be missing or doubled.
    pub changed: bool,
}

impl Socket {
    /// Opens a socket of protocol `NETLINK_*`.
    ///
    /// # Errors
    /// If this kernel lacks the protocol.
    pub fn open(protocol: libc::c_int) -> io::Result<Self> {
        // NETLINK_ROUTE is 0, which stands for "no protocol" here.
        let protocol = u32::try_from(protocol).ok().and_then(NonZero::new).map(Protocol::from_raw);
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { socket, sequence: 0, buffer: Datagram::new() })
    }

    /// Returns the inode of this socket.
    ///
    /// # Errors
    /// Errors of fstat() and dup().
    pub fn inode(&self) -> io::Result<u64> {
        Ok(File::from(self.socket.try_clone()?).metadata()?.ino())
    }

    /// Sends request `kind` with `body` for a dump, and passes the payload of every message of type
    /// `answer` to `each`. `true`: the table changed meanwhile, rows may be missing or doubled.
    ///
    /// # Errors
    /// Errors of the socket, and errors that the kernel answers with; `each` may have got messages.
    pub fn dump(&mut self, kind: u16, body: &[u8], answer: u16, mut each: impl FnMut(&[u8])) -> io::Result<bool> {
        // The rest of a failed dump has another number.
        self.sequence = self.sequence.wrapping_add(1);
        self.send(&request(kind, self.sequence, body))?;
        let mut answer = Answer::new(self.sequence, answer);
        while !answer.take(self.receive()?, &mut each)? {}
        Ok(answer.changed)
    }

    /// Like [`Self::dump`], until `each` fails. The socket is unusable then: it holds the rest of the dump.
    ///
    /// # Errors
    /// Errors of the socket, errors that the kernel answers with, and the error of `each`.
    pub(super) fn dump_until<E: From<io::Error>>(
        &mut self,
        kind: u16,
        body: &[u8],
        answer: u16,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut failed = Ok(());
        self.sequence = self.sequence.wrapping_add(1);
        self.send(&request(kind, self.sequence, body))?;
        let mut answer = Answer::new(self.sequence, answer);
        loop {
            let done = answer.take(self.receive()?, |payload| {
                if failed.is_ok() {
                    failed = each(payload);
                }
            })?;
            if done || failed.is_err() {
                return failed;
            }
        }
    }

    /// Asks for one thing by request `kind`, and returns the parsed message of type `answer`.
    ///
    /// # Errors
    /// Errors of the socket, and errors that the kernel answers with.
    pub(super) fn ask<T>(
        &mut self,
        kind: u16,
        body: &[u8],
        answer: u16,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<T> {
        self.sequence = self.sequence.wrapping_add(1);
        self.send(&question(kind, self.sequence, body))?;
        let mut read = Answer::new(self.sequence, answer);
        loop {
            let mut told = None;
            let done = read.take(self.receive()?, |payload| told = told.take().or_else(|| parse(payload)))?;
            match told {
                Some(told) => return Ok(told),
                None if done => return Err(io::ErrorKind::InvalidData.into()),
                // The rest of another answer.
                None => {}
            }
        }
    }

    /// Like [`Self::dump`], but passes whole datagrams on, which may hold other messages, too. `each` may
    /// take one and leave an empty one.
    ///
    /// # Errors
    /// Errors of the socket, and errors that the kernel answers with; `each` may have got datagrams.
    pub(crate) fn dump_datagrams(
        &mut self,
        kind: u16,
        body: &[u8],
        answer: u16,
        mut each: impl FnMut(&mut Datagram),
    ) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        self.send(&request(kind, self.sequence, body))?;
        let mut read = Answer::new(self.sequence, answer);
        loop {
            let done = read.take(self.receive()?, |_| {})?;
            (self.buffer.kind, self.buffer.sequence) = (answer, self.sequence);
            each(&mut self.buffer);
            if done {
                return Ok(read.changed);
            }
        }
    }

    /// Like [`Self::dump`], with a row for each message that `parse` accepts; the others are skipped.
    /// Repeats the request a few times while the table keeps changing.
    ///
    /// # Errors
    /// Errors of the socket, and errors that the kernel answers with.
    pub fn table<T>(
        &mut self,
        kind: u16,
        body: &[u8],
        answer: u16,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<Table<T>> {
        settled(|rows| self.dump(kind, body, answer, |payload| rows.extend(parse(payload))))
    }

    fn send(&self, request: &[u8]) -> io::Result<()> {
        // Without an address the request goes to the kernel.
        send(&self.socket, request, SendFlags::empty())?;
        Ok(())
    }

    /// Receives a datagram from the kernel: only root can send to the socket of another process.
    fn receive(&mut self) -> io::Result<&[u8]> {
        let bytes = &mut self.buffer.bytes;
        bytes.clear();
        let room = bytes.spare_capacity_mut();
        let n = loop {
            // The kernel returns the whole length, even if the datagram does not fit.
            match recv(&self.socket, &mut *room, RecvFlags::TRUNC) {
                Ok((_, 0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((_, n)) => break n,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        if n > room.len() {
            return Err(io::Error::other("a message larger than its buffer"));
        }
        // SAFETY: the kernel has written `n` bytes.
        unsafe { bytes.set_len(n) };
        Ok(bytes)
    }
}

impl<T> Table<T> {
    /// Returns the rows, if no change tore them.
    ///
    /// # Errors
    /// If the table changed during each dump.
    pub fn of_one_moment(self) -> io::Result<Vec<T>> {
        if self.changed { Err(io::Error::other("the table kept changing while it was read")) } else { Ok(self.rows) }
    }
}

/// Returns the rows of the first of a few dumps without a change, or else those of the last dump.
fn settled<T>(mut dump: impl FnMut(&mut Vec<T>) -> io::Result<bool>) -> io::Result<Table<T>> {
    let mut table = Table { rows: Vec::new(), changed: true };
    for _ in 0..ATTEMPTS {
        table.rows.clear();
        table.changed = dump(&mut table.rows)?;
        if !table.changed {
            break;
        }
    }
    Ok(table)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    /// Calls `settled` with dumps that give their number; the first `changes` of them find the table changed.
    fn after(changes: u32) -> Table<u32> {
        let mut dumps = 0;
        settled(|rows| {
            dumps += 1;
            rows.push(dumps);
            Ok(dumps <= changes)
        })
        .unwrap()
    }

    #[test]
    fn a_table_that_changes_is_read_again_a_few_times() {
        assert_eq!(after(0), Table { rows: vec![1], changed: false });
        assert_eq!(after(2), Table { rows: vec![3], changed: false });
        let restless = after(u32::MAX);
        assert_eq!(restless, Table { rows: vec![ATTEMPTS], changed: true });
        assert!(restless.of_one_moment().is_err());
    }

    #[test]
    fn one_socket_serves_for_many_dumps() {
        const RTM_NEWLINK: u16 = 16;
        const RTM_GETLINK: u16 = 18;
        let mut socket = Socket::open(libc::NETLINK_ROUTE).unwrap();
        for _ in 0..3 {
            let mut links = 0;
            socket.dump(RTM_GETLINK, &[0; 16], RTM_NEWLINK, |_| links += 1).unwrap();
            assert!(links > 0);
        }
        // The kernel refuses an unknown request, and answers the next one.
        let refused = socket.dump(u16::MAX, &[0; 16], RTM_NEWLINK, |_| unreachable!()).unwrap_err();
        assert!(refused.raw_os_error().is_some(), "{refused}");
        assert!(!socket.table(RTM_GETLINK, &[0; 16], RTM_NEWLINK, |_| Some(())).unwrap().rows.is_empty());
        let link = format!("/proc/self/fd/{}", socket.socket.as_raw_fd());
        let named = std::fs::read_link(link).unwrap();
        assert_eq!(named.to_str().unwrap(), format!("socket:[{}]", socket.inode().unwrap()));
    }
}
