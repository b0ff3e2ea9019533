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

use super::message::{Answer, question, request};

/// Room for one datagram: the kernel makes dumps of at most 32 KiB (`netlink_dump`), unless a single
/// message is larger.
const ROOM: usize = 64 * 1024;
/// How long the kernel may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a table is asked for that changes while it is told.
pub(super) const ATTEMPTS: u32 = 4;

/// A netlink socket in the namespace of the thread that opened it. It serves for any number of dumps.
#[derive(Debug)]
pub struct Socket {
    socket: OwnedFd,
    sequence: u32,
    buffer: Datagram,
}

/// One datagram of the answer to a dump, or room for one.
#[derive(Debug)]
pub struct Datagram {
    bytes: Vec<u8>,
    /// Type of the messages that are wanted of it.
    pub(crate) kind: u16,
    /// Number of the request.
    pub(crate) sequence: u32,
}

impl Datagram {
    /// Room for one.
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::with_capacity(ROOM), kind: 0, sequence: 0 }
    }

    /// What was received.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[cfg(test)]
    pub(crate) fn fill(&mut self, bytes: Vec<u8>, kind: u16, sequence: u32) {
        *self = Self { bytes, kind, sequence };
    }
}

/// What a dump told, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// The table changed each time while it was told: rows may be missing or stand there twice.
    pub changed: bool,
}

impl Socket {
    /// Opens one of protocol `NETLINK_*`.
    ///
    /// # Errors
    /// If this kernel has none.
    pub fn open(protocol: libc::c_int) -> io::Result<Self> {
        // NETLINK_ROUTE is zero, and so is no protocol.
        let protocol = u32::try_from(protocol).ok().and_then(NonZero::new).map(Protocol::from_raw);
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { socket, sequence: 0, buffer: Datagram::new() })
    }

    /// Inode of this very socket.
    ///
    /// # Errors
    /// Those of fstat() and dup().
    pub fn inode(&self) -> io::Result<u64> {
        Ok(File::from(self.socket.try_clone()?).metadata()?.ino())
    }

    /// Sends request `kind` with `body` for a dump, and gives the payload of every message of type
    /// `answer` to `each`. `true`: the table changed meanwhile, rows may be missing or come twice.
    ///
    /// # Errors
    /// Those of the socket, and what the kernel answers; messages may have been given.
    pub fn dump(&mut self, kind: u16, body: &[u8], answer: u16, mut each: impl FnMut(&[u8])) -> io::Result<bool> {
        // What is left of a dump that failed has another number.
        self.sequence = self.sequence.wrapping_add(1);
        self.send(&request(kind, self.sequence, body))?;
        let mut answer = Answer::new(self.sequence, answer);
        while !answer.take(self.receive()?, &mut each)? {}
        Ok(answer.changed)
    }

    /// As [`Self::dump`], until `each` fails. After that the socket is of no more use: the rest of the dump is in it.
    ///
    /// # Errors
    /// Those of the socket, what the kernel answers, and that of `each`.
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

    /// Asks for one thing by request `kind`; what `parse` makes of the message of type `answer`.
    ///
    /// # Errors
    /// Those of the socket, and what the kernel answers.
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
                // What was left of another answer.
                None => {}
            }
        }
    }

    /// As [`Self::dump`], but gives whole datagrams, whatever else is in them. `each` may take one and
    /// leave other room.
    ///
    /// # Errors
    /// Those of the socket, and what the kernel answers; datagrams may have been given.
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

    /// As [`Self::dump`], with a row for each message that `parse` takes; the others are passed over.
    /// A table that changes meanwhile is asked for again, a few times.
    ///
    /// # Errors
    /// Those of the socket, and what the kernel answers.
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
        // Without an address it goes to the kernel.
        send(&self.socket, request, SendFlags::empty())?;
        Ok(())
    }

    /// One datagram, from the kernel: to send to the socket of another process takes root.
    fn receive(&mut self) -> io::Result<&[u8]> {
        let bytes = &mut self.buffer.bytes;
        bytes.clear();
        let room = bytes.spare_capacity_mut();
        let n = loop {
            // The kernel tells the whole length, even of what does not fit.
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
        // SAFETY: the kernel has written so many bytes.
        unsafe { bytes.set_len(n) };
        Ok(bytes)
    }
}

impl<T> Table<T> {
    /// The rows, if they are those of one moment.
    ///
    /// # Errors
    /// The table changed each time while it was told.
    pub fn of_one_moment(self) -> io::Result<Vec<T>> {
        if self.changed { Err(io::Error::other("the table kept changing while it was read")) } else { Ok(self.rows) }
    }
}

/// The rows of the first of a few dumps in which the table did not change, or else of the last one.
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

    /// `settled` of dumps that tell their number; `changes` of them find the table changed.
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
        // No such request: the kernel refuses it, and answers the next one.
        let refused = socket.dump(u16::MAX, &[0; 16], RTM_NEWLINK, |_| unreachable!()).unwrap_err();
        assert!(refused.raw_os_error().is_some(), "{refused}");
        assert!(!socket.table(RTM_GETLINK, &[0; 16], RTM_NEWLINK, |_| Some(())).unwrap().rows.is_empty());
        let link = format!("/proc/self/fd/{}", socket.socket.as_raw_fd());
        let named = std::fs::read_link(link).unwrap();
        assert_eq!(named.to_str().unwrap(), format!("socket:[{}]", socket.inode().unwrap()));
    }
}
