//! The tables that BPF iterators read: what a picture asks of their loader, and the records of connections as rows.

use std::fmt::Debug;

use tracer_common::iterator::{CHANGED, ConnectionRecord, TIME_WAIT};

use super::proto::{Proto, State};
use super::row::{Inet, Kind, Row};

/// A socket's inode and a process that holds it.
pub type Pair = (u64, u32);

/// The reason why the table of connections was not read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It was loaded for fewer connections.
    #[error("there are far more connections than were expected")]
    TooSmall,
    /// This kernel refuses it: the reason in a few words.
    #[error("{0}")]
    Refused(String),
}

/// The iterators of this kernel, each loaded at its first use. Every reason is a few words.
pub trait Iterators: Debug + Sync {
    /// Loads the iterator over holders.
    ///
    /// # Errors
    /// The kernel's refusal.
    fn load_holders(&self) -> Result<(), String>;

    /// The holders of sockets: inode and process, with repetitions, and the name of the iterator that found them.
    ///
    /// # Errors
    /// Like [`Self::load_holders`], and those of reading.
    fn holders(&self) -> Result<(Vec<Pair>, &'static str), String>;

    /// Passes the connections in the table of this thread's namespace to `each`, a chunk at a time: all TCP sockets but
    /// listening ones, of every namespace that shares the table. `each` may take the chunk and leave another one to be
    /// filled. `of`: their approximate number; `None`: unlimited, which takes longer.
    ///
    /// # Errors
    /// If there are far more than that, or this kernel refuses it.
    fn connections(&self, of: Option<u64>, each: &mut dyn FnMut(&mut Chunk)) -> Result<(), TableError>;
}

/// Bytes of a record.
const RECORD: usize = size_of::<ConnectionRecord>();
/// Room of a chunk: twice the kernel's own buffer (`bpf_seq_read`: 8 pages).
const ROOM: usize = 2 * 32 * 1024;

/// Records of connections.
#[derive(Debug)]
pub struct Chunk {
    /// May end with a part of a record; the next chunk begins with it.
    pub bytes: Vec<u8>,
}

impl Chunk {
    /// Bytes of one record.
    pub const RECORD: usize = RECORD;

    /// An empty chunk with room.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: Vec::with_capacity(ROOM) }
    }

    /// The whole records.
    pub fn records(&self) -> impl Iterator<Item = &[u8; RECORD]> {
        self.bytes.as_chunks().0.iter()
    }
}

impl Default for Chunk {
    fn default() -> Self {
        Self::new()
    }
}

/// The connection, and whether it is in a table of its namespace's own; `None`: the table changed meanwhile, and no
/// record is certain.
#[must_use]
pub(super) fn connection(record: &[u8; RECORD]) -> Option<(Row, bool)> {
    let record = ConnectionRecord::decode(record);
    (record.state != CHANGED).then(|| (row(&record), record.alone != 0))
}

fn row(record: &ConnectionRecord) -> Row {
    let is_left = record.state == TIME_WAIT;
    let state = State::of_sk_state(Proto::Tcp, if is_left { record.substate } else { record.state });
    let is_v6 = i32::from(record.family) == libc::AF_INET6;
    let address = |v4: u32, v6: [u64; 2]| {
        if is_v6 {
            // In the byte order of memory.
            let half = |double: u64| {
                let bytes = double.to_ne_bytes();
                let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
                [word(0), word(4)]
            };
            let ([a, b], [c, d]) = (half(v6[0]), half(v6[1]));
            [a, b, c, d]
        } else {
            [v4, 0, 0, 0]
        }
    };
    // Like sock_diag: a FIN counts as received and as read.
    let unread = record.rcv_nxt.wrapping_sub(record.copied_seq);
    Row {
        proto: Proto::Tcp,
        state,
        netns: record.netns,
        inode: record.inode,
        cookie: None,
        uid: (state != State::TimeWait).then_some(record.uid),
        recv_q: if unread.cast_signed() < 0 { 0 } else { unread },
        send_q: record.write_seq.wrapping_sub(record.snd_una),
        kind: Kind::Inet(Inet {
            family: if is_v6 { 6 } else { 4 },
            laddr: address(record.laddr, record.laddr_v6),
            lport: record.lport,
            raddr: address(record.raddr, record.raddr_v6),
            rport: u16::from_be(record.rport),
            ifindex: record.ifindex,
            v6only: None,
            tcp: None,
        }),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// A record in the program's format.
    fn bytes(record: &ConnectionRecord) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &record.inode.to_ne_bytes());
        for (at, double) in record.laddr_v6.into_iter().chain(record.raddr_v6).enumerate() {
            put(8 + at * 8, &double.to_ne_bytes());
        }
        let words = [
            record.laddr,
            record.raddr,
            record.ifindex,
            record.uid,
            record.rcv_nxt,
            record.copied_seq,
            record.write_seq,
            record.snd_una,
            record.netns,
        ];
        for (at, word) in words.into_iter().enumerate() {
            put(40 + at * 4, &word.to_ne_bytes());
        }
        put(76, &record.rport.to_ne_bytes());
        put(78, &record.lport.to_ne_bytes());
        put(80, &[record.family, record.state, record.substate, record.alone]);
        bytes
    }

    const ESTABLISHED: u8 = 1;
    const FIN_WAIT2: u8 = 5;

    fn a_record(family: i32, state: u8) -> ConnectionRecord {
        ConnectionRecord {
            inode: 4711,
            laddr_v6: [u64::from_ne_bytes([1, 2, 3, 4, 5, 6, 7, 8]), u64::from_ne_bytes([9; 8])],
            raddr_v6: [0, u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, 1])],
            laddr: u32::from_ne_bytes([127, 0, 0, 1]),
            raddr: u32::from_ne_bytes([127, 0, 0, 2]),
            ifindex: 3,
            uid: 1000,
            rcv_nxt: 5,
            copied_seq: u32::MAX - 4,
            write_seq: 3,
            snd_una: u32::MAX,
            netns: 7,
            rport: 443_u16.to_be(),
            lport: 40_000,
            family: u8::try_from(family).unwrap(),
            state,
            substate: FIN_WAIT2,
            alone: 0,
            reserved: 0,
        }
    }

    fn taken(record: &ConnectionRecord) -> Row {
        connection(&bytes(record)).unwrap().0
    }

    #[test]
    fn a_record_is_a_row() {
        let row = taken(&a_record(libc::AF_INET, ESTABLISHED));
        let inet = row.inet().unwrap();
        assert_eq!((row.state, row.netns, row.inode, row.uid), (State::Established, 7, 4711, Some(1000)));
        assert_eq!((inet.family, inet.lport, inet.rport, inet.ifindex), (4, 40_000, 443, 3));
        assert_eq!(inet.laddr, [u32::from_ne_bytes([127, 0, 0, 1]), 0, 0, 0]);
        // The byte numbers wrap around at 32 bits.
        assert_eq!((row.recv_q, row.send_q), (10, 4));

        let row = taken(&a_record(libc::AF_INET6, ESTABLISHED));
        let inet = row.inet().unwrap();
        assert_eq!((inet.family, inet.raddr), (6, [0, 0, 0, u32::from_ne_bytes([0, 0, 0, 1])]));
        let word = |first: u8| u32::from_ne_bytes([first, first + 1, first + 2, first + 3]);
        assert_eq!(inet.laddr[..2], [word(1), word(5)]);
    }

    /// The remains of a connection have their own state.
    #[test]
    fn what_is_left_has_its_own_state() {
        assert_eq!(taken(&a_record(libc::AF_INET, TIME_WAIT)).state, State::FinWait2);
        let waits = ConnectionRecord { substate: TIME_WAIT, ..a_record(libc::AF_INET, TIME_WAIT) };
        let row = taken(&waits);
        assert_eq!((row.state, row.uid), (State::TimeWait, None));
    }

    #[test]
    fn what_changed_is_no_row() {
        assert_eq!(connection(&[0; RECORD]), None);
    }

    #[test]
    fn a_table_may_be_one_namespace_s() {
        let record = a_record(libc::AF_INET, ESTABLISHED);
        let is_alone = |alone| connection(&bytes(&ConnectionRecord { alone, ..record })).unwrap().1;
        assert_eq!([0, 1].map(is_alone), [false, true]);
    }

    #[test]
    fn a_chunk_may_be_cut() {
        let record = bytes(&a_record(libc::AF_INET, ESTABLISHED));
        let mut chunk = Chunk::new();
        chunk.bytes = [&record[..], &record, &record[..RECORD - 1]].concat();
        assert_eq!(chunk.records().map(|bytes| connection(bytes).unwrap().0.inode).sum::<u64>(), 2 * 4711);
    }
}
