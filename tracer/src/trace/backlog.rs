//! Waiting records, in the order in which they came: at the start they wait for the snapshot, later for /proc's answer
//! about a process.

use std::collections::HashSet;

use tracer_common::{
    decode::{Record, decode},
    record::{FLAG_PREEXISTING, FLAG_UNTRACKED, RecordKind, SocketState},
};

use crate::core::Opened;

/// The most bytes that are kept; above it records stay in the ring, where a loss is counted.
const LIMIT_BYTES: usize = 256 << 20;

/// The records, one after another, in words so that each is aligned as in the ring.
#[derive(Debug, Default)]
pub struct Backlog {
    words: Vec<u64>,
    /// The begin of the first waiting record.
    place: usize,
    /// The end of the records that [`Backlog::look_ahead`] has visited.
    looked: usize,
}

/// The bytes that arrive within an answer's deadline on a busy host; the backlog of a slow reader of the output is not
/// kept here.
const LONG_BYTES: usize = 8 << 20;
/// The most words of consumed records that are kept.
const GONE: usize = 1 << 16;

impl Backlog {
    /// Whether there is room for more.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        (self.words.len() - self.place) * 8 < LIMIT_BYTES
    }

    /// Whether more may wait here. Except at the start, everything beyond a moment's records stays in the ring, where a
    /// loss is counted and memory does not grow.
    #[must_use]
    pub const fn takes_more(&self, at_start: bool) -> bool {
        self.has_room() && (at_start || (self.words.len() - self.place) * 8 < LONG_BYTES)
    }

    /// Whether no record waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.place == self.words.len()
    }

    /// The first record.
    #[must_use]
    pub fn front(&self) -> Option<&[u8]> {
        record_at(&self.words, self.place).map(|(record, _)| record)
    }

    /// Removes the first record.
    pub fn pop(&mut self) {
        let Some((_, next)) = record_at(&self.words, self.place) else { return };
        self.place = next;
        if self.is_empty() {
            self.words.clear();
            (self.place, self.looked) = (0, 0);
        } else if self.place >= GONE && self.place * 2 >= self.words.len() {
            self.words.drain(..self.place);
            self.looked = self.looked.saturating_sub(self.place);
            self.place = 0;
        }
    }

    /// Calls `look` with up to `most` waiting records, and with each of them once.
    pub fn look_ahead(&mut self, most: usize, look: impl FnMut(&[u8])) {
        let mut place = self.looked.max(self.place);
        self.hand_out(&mut place, most, look);
        self.looked = place;
    }

    /// Number of waiting records.
    #[must_use]
    pub fn count(&self) -> usize {
        let mut count = 0;
        self.for_each(|_| count += 1);
        count
    }

    /// Gives unused memory back.
    pub fn give_back(&mut self) {
        self.words.shrink_to(self.words.len() * 2);
    }

    /// Keeps a record.
    pub fn push(&mut self, record: &[u8]) {
        self.words.push(record.len() as u64);
        self.words.extend(record.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_ne_bytes(word)
        }));
    }

    /// Calls `take` with every record, in order.
    pub fn for_each(&self, take: impl FnMut(&[u8])) {
        self.hand_out(&mut self.place.clone(), usize::MAX, take);
    }

    /// Calls `take` with up to `most` records from `place` on, and advances it.
    fn hand_out(&self, place: &mut usize, most: usize, mut take: impl FnMut(&[u8])) {
        for _ in 0..most {
            let Some((record, next)) = record_at(&self.words, *place) else { return };
            take(record);
            *place = next;
        }
    }

    /// Processes that have executed a program since the hooks were attached: the current /proc may be newer than their
    /// records.
    #[must_use]
    pub fn executed(&self) -> HashSet<u32> {
        let mut executed = HashSet::new();
        self.for_each(|bytes| {
            if let Ok(Record::Exec(record)) = decode(bytes) {
                executed.insert(record.pid);
            }
        });
        executed
    }

    /// Sockets that were connected, accepted or made to listen since the hooks were attached: the snapshot must not
    /// show them as older than the trace.
    #[must_use]
    pub fn opened(&self) -> Vec<Opened> {
        let mut opened = Vec::new();
        // For a socket without room in its map the kernel side does not know its age: the record of its beginning shows
        // it.
        let mut begun = HashSet::new();
        self.for_each(|bytes| {
            if let Ok(Record::Socket(kind, record)) = decode(bytes)
                && matches!(
                    kind,
                    RecordKind::Connect | RecordKind::Established | RecordKind::Listen | RecordKind::Accept
                )
            {
                let SocketState { id, flags, .. } = record.state;
                if flags & FLAG_UNTRACKED != 0 && flags & FLAG_PREEXISTING == 0 {
                    begun.insert(id);
                }
                if flags & FLAG_PREEXISTING == 0 || begun.contains(&id) {
                    let listens = kind == RecordKind::Listen && record.state.parent != 0;
                    let listener = listens.then_some(u64::from(record.state.parent));
                    opened.push(Opened { tuple: record.tuple, listener });
                }
            }
        });
        opened
    }
}

/// The record at `place`, and the begin of the next one.
fn record_at(words: &[u64], place: usize) -> Option<(&[u8], usize)> {
    let (length, after) = words.get(place..)?.split_first()?;
    let length = usize::try_from(*length).unwrap_or(0);
    let record = after.get(..length.div_ceil(8).min(after.len()))?;
    // SAFETY: `record` is initialised memory of at least as many bytes; any byte is a `u8`.
    let bytes = unsafe { std::slice::from_raw_parts(record.as_ptr().cast::<u8>(), length.min(record.len() * 8)) };
    Some((bytes, place + 1 + record.len()))
}

#[cfg(test)]
mod tests {
    use tracer_common::record::{RECORD_VERSION, SocketRecord};

    use super::*;

    fn socket_record(kind: RecordKind, id: u64, flags: u16, lport: u16) -> [u64; 22] {
        let mut words = [0; 22];
        assert_eq!(size_of_val(&words), size_of::<SocketRecord>());
        words[0] = u64::from_ne_bytes([kind as u8, RECORD_VERSION, 0, 0, 0, 0, 0, 0]);
        let place = words.as_mut_ptr().cast::<SocketRecord>();
        // SAFETY: as large as a record and aligned; zeros are a value of each of its fields.
        unsafe {
            (*place).state.id = id;
            (*place).state.flags = flags;
            (*place).tuple.lport = lport;
        }
        words
    }

    #[test]
    fn what_was_opened_since_is_no_older() {
        use RecordKind as K;
        let mut backlog = Backlog::default();
        for (kind, id, flags, lport) in [
            (K::Established, 1, 0, 1),
            // Older than the trace.
            (K::Established, 2, FLAG_PREEXISTING, 2),
            // No room for it: begun, and then seen as if it were older.
            (K::Connect, 31, FLAG_UNTRACKED, 3),
            (K::Established, 31, FLAG_UNTRACKED | FLAG_PREEXISTING, 4),
            // Older, and without room, too.
            (K::Accept, 47, FLAG_UNTRACKED | FLAG_PREEXISTING, 5),
        ] {
            let words = socket_record(kind, id, flags, lport);
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            backlog.push(&bytes);
        }
        let ports: Vec<u16> = backlog.opened().iter().map(|opened| opened.tuple.lport).collect();
        assert_eq!(ports, [1, 3, 4]);
    }

    #[test]
    fn records_come_back_as_they_went_in() {
        let mut backlog = Backlog::default();
        let records: [&[u8]; 4] = [b"12345678", b"", b"123456789", b"x"];
        for record in records {
            backlog.push(record);
        }
        let mut back = Vec::new();
        backlog.for_each(|record| {
            assert!(record.is_empty() || record.as_ptr().cast::<u64>().is_aligned());
            back.push(record.to_vec());
        });
        assert_eq!(back, records);
    }

    #[test]
    fn who_waits_is_first_in_first_out() {
        let mut line = Backlog::default();
        assert!(line.is_empty() && line.front().is_none());
        // More records than are kept after use, and never all at once.
        let (mut next, mut expected, mut looked) = (0u32, 0u32, Vec::new());
        let number = |record: &[u8]| record.first_chunk().map(|chunk| u32::from_ne_bytes(*chunk));
        while expected < 60_000 {
            for _ in 0..3 {
                let record = [next.to_ne_bytes(), [0; 4], [7; 4]].concat();
                line.push(&record);
                next += 1;
            }
            line.look_ahead(5, |record| looked.extend(number(record)));
            for _ in 0..2 {
                assert_eq!(line.front().and_then(number), Some(expected));
                line.pop();
                expected += 1;
            }
        }
        assert_eq!(line.count(), (next - expected) as usize);
        assert!(line.words.len() <= 2 * (line.count() * 3).max(GONE));
        // Each was seen once, in order, unless it was gone by then.
        assert!(looked.windows(2).all(|pair| pair[0] < pair[1]) && looked.len() > 30_000);
        while !line.is_empty() {
            line.pop();
        }
        assert!(line.front().is_none());
        line.push(b"again");
        assert_eq!(line.front(), Some(&b"again"[..]));
    }
}
