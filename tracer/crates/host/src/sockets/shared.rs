//! Reads a large table with two threads: one receives batches, the other makes rows of them.
//!
//! The kernel fills a batch in the receiver's system call, and making rows takes a good part of that time: time in
//! which the kernel can fill the next batch.

use std::mem;
use std::panic::resume_unwind;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, ScopedJoinHandle};

use super::by_namespace::ByNamespace;
use super::order::Key;
use super::row::Row;

/// The records received at a time.
pub(super) trait Batch: Send {
    /// Makes an empty batch.
    fn new() -> Self;

    /// Passes each record to `record`.
    fn each(&self, record: impl FnMut(&[u8]));
}

/// The receiver itself parses this many batches: most tables are no larger.
const ALONE: usize = 4;
/// The most batches that wait for the other thread, 32 KiB each. Beyond them the receiver parses, too.
const WAITING: usize = 32;

/// Batches passed on together: waking the other thread costs as much time as the kernel needs to fill half a batch.
const TOGETHER: usize = 4;

/// Room for rows from the start. Memory that is not written to costs nothing, but moving it to where
/// there is more stops every processor of this process.
const ROOM: usize = 64 * 1024;

/// The result of a dump.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) rows: ByNamespace,
    /// Records that the parser did not understand.
    pub(super) malformed: u64,
}

impl Read {
    fn take(&mut self, batch: &impl Batch, parse: &impl Fn(&[u8]) -> Option<Row>) {
        batch.each(|record| match parse(record) {
            Some(row) => self.rows.push(row),
            None => self.malformed += 1,
        });
    }

    /// Joins two results.
    fn and(self, other: Self) -> Self {
        let malformed = self.malformed + other.malformed;
        let (mut most, least) =
            if self.rows.len() < other.rows.len() { (other.rows, self.rows) } else { (self.rows, other.rows) };
        most.append(least);
        Self { rows: most, malformed }
    }
}

/// Makes rows of the batches of `dump`, which passes each to its argument: that may take the batch and leave an empty
/// one. Also returns the value of `dump`. The rows, most of them of `netns`, will be in the order of `key`.
pub(super) fn read<B: Batch, T, E>(
    netns: u32,
    key: Option<Key>,
    parse: impl Fn(&[u8]) -> Option<Row> + Sync,
    dump: impl FnOnce(&mut dyn FnMut(&mut B)) -> Result<T, E>,
) -> Result<(Read, T), E> {
    let parse = &parse;
    thread::scope(|scope| {
        let mut own = Read { rows: ByNamespace::new(key, netns, 0), malformed: 0 };
        let mut received = 0;
        let mut other: Option<Other<'_, B>> = None;
        let done = dump(&mut |batch| {
            received += 1;
            if received > ALONE && other.is_none() {
                let (to, from) = mpsc::channel::<Vec<B>>();
                let (back, spare) = mpsc::channel();
                let reader = thread::Builder::new().name("rows".into()).spawn_scoped(scope, move || {
                    let mut read = Read { rows: ByNamespace::new(key, netns, ROOM), malformed: 0 };
                    for batches in from {
                        batches.iter().for_each(|batch| read.take(batch, parse));
                        // Fails after the last batches, when the receiver has gone.
                        let _ = back.send(batches);
                    }
                    read
                });
                other = reader.ok().map(|reader| Other::new(to, spare, reader));
            }
            if !other.as_mut().is_some_and(|other| other.pass(batch)) {
                own.take(batch, parse);
            }
        })?;
        let Some(other) = other else { return Ok((own, done)) };
        let theirs = other.end().join().unwrap_or_else(|panic| resume_unwind(panic));
        Ok((theirs.and(own), done))
    })
}

/// The other thread, seen from the receiver.
struct Other<'s, B> {
    to: Sender<Vec<B>>,
    /// Batches to pass on with the next ones.
    filled: Vec<B>,
    /// Batches that the other thread is done with.
    spare: Receiver<Vec<B>>,
    /// Batches taken from `spare` and not used yet.
    empty: Vec<B>,
    /// The number of batches made anew.
    made: usize,
    reader: ScopedJoinHandle<'s, Read>,
}

impl<'s, B: Batch> Other<'s, B> {
    const fn new(to: Sender<Vec<B>>, spare: Receiver<Vec<B>>, reader: ScopedJoinHandle<'s, Read>) -> Self {
        Self { to, filled: Vec::new(), spare, empty: Vec::new(), made: 0, reader }
    }

    /// Passes `batch` on and leaves an empty one; `false` if too many wait.
    fn pass(&mut self, batch: &mut B) -> bool {
        if self.empty.is_empty()
            && let Ok(spare) = self.spare.try_recv()
        {
            self.empty = spare;
        }
        let empty = match self.empty.pop() {
            Some(empty) => empty,
            None if self.made < WAITING => {
                self.made += 1;
                B::new()
            }
            None => return false,
        };
        self.filled.push(mem::replace(batch, empty));
        if self.filled.len() == TOGETHER {
            let _ = self.to.send(mem::replace(&mut self.filled, Vec::with_capacity(TOGETHER)));
        }
        true
    }

    /// Passes the last batches on and ends the stream.
    fn end(self) -> ScopedJoinHandle<'s, Read> {
        let _ = self.to.send(self.filled);
        self.reader
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use std::io;

    use crate::netlink::Datagram;
    use crate::sockets::proto::{Proto, State};
    use crate::sockets::row::{Kind, Netlink};
    use tracer_tables::netlink::message::request;

    /// Makes a row of a number; `None` for 13.
    fn parse(payload: &[u8]) -> Option<Row> {
        let number = u32::from_ne_bytes(*payload.first_chunk()?);
        let kind = Kind::Netlink(Netlink { protocol: 0, portid: number, groups: 0 });
        (number != 13).then_some(Row {
            proto: Proto::Netlink,
            state: State::Unconn,
            netns: 0,
            inode: number.into(),
            cookie: None,
            uid: None,
            recv_q: 0,
            send_q: 0,
            kind,
        })
    }

    /// Reads `count` datagrams of three numbers each.
    fn numbers(count: u32) -> (Vec<u64>, u64) {
        let mut filled = Datagram::new();
        let (mut read, ()) = read::<_, _, io::Error>(0, Some(Key::Proto), parse, |each| {
            for n in 0..count {
                let message = |number: u32| request(20, 9, &number.to_ne_bytes());
                filled.fill([message(3 * n), message(3 * n + 1), message(3 * n + 2)].concat(), 20, 9);
                each(&mut filled);
            }
            Ok(())
        })
        .unwrap();
        // In order, as the numbers are.
        let (rows, places) = read.rows.take(0).in_order();
        (places.iter().map(|at| rows[*at as usize].inode).collect(), read.malformed)
    }

    #[test]
    fn each_message_is_a_row_once() {
        for count in [0, 1, 4, 5, 6, 100, 3000] {
            let (inodes, malformed) = numbers(count);
            let expected: Vec<u64> = (0..u64::from(3 * count)).filter(|number| *number != 13).collect();
            assert_eq!((inodes, malformed), (expected, u64::from(count > 4)), "{count}");
        }
    }

    #[test]
    fn a_dump_that_fails_has_no_rows() {
        let mut filled = Datagram::new();
        let failed = read(0, None, parse, |each| {
            (0..20).for_each(|_| {
                filled.fill(request(20, 9, &[0; 4]), 20, 9);
                each(&mut filled);
            });
            Err::<(), _>(io::Error::from_raw_os_error(libc::ENOENT))
        });
        assert_eq!(failed.unwrap_err().raw_os_error(), Some(libc::ENOENT));
    }
}
