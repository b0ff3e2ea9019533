//! Records that came while the snapshot was taken, kept until it is there.

use std::collections::HashSet;

use tracer_common::{
    decode::{Record, decode},
    record::{FLAG_PREEXISTING, FLAG_UNTRACKED, RecordKind, SocketState},
};

use crate::core::Opened;

/// Bytes that are kept at the most; beyond that records stay in the ring, where a loss is counted.
const LIMIT_BYTES: usize = 256 << 20;

/// The records, one after another, in words so that each is aligned as in the ring.
#[derive(Debug, Default)]
pub struct Backlog {
    words: Vec<u64>,
}

impl Backlog {
    /// Whether there is room for more.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.words.len() * 8 < LIMIT_BYTES
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
        self.hand_out(&mut 0, usize::MAX, take);
    }

    /// Calls `take` with the records that follow `place`, which is 0 for the first one, `most` of them at the
    /// most, and moves it on. Whether there were any.
    pub fn hand_out(&self, place: &mut usize, most: usize, mut take: impl FnMut(&[u8])) -> bool {
        let mut rest = self.words.get(*place..).unwrap_or_default();
        let mut count = 0;
        while count < most
            && let Some((length, after)) = rest.split_first()
        {
            let length = usize::try_from(*length).unwrap_or(0);
            let (record, next) = after.split_at(length.div_ceil(8).min(after.len()));
            // SAFETY: `record` is at least `length` bytes of initialised memory; any byte is a `u8`.
            take(unsafe { std::slice::from_raw_parts(record.as_ptr().cast::<u8>(), length.min(record.len() * 8)) });
            rest = next;
            count += 1;
        }
        *place = self.words.len() - rest.len();
        count > 0
    }

    /// Processes that have executed something since the hooks were attached: what /proc says of them
    /// now may be later than what they did.
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

    /// What was connected, accepted or made to listen since the hooks were attached: the
    /// snapshot must not present it as older than the trace.
    #[must_use]
    pub fn opened(&self) -> Vec<Opened> {
        let mut opened = Vec::new();
        // For a socket that it had no room for the kernel side cannot tell: its beginning does.
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

#[cfg(test)]
mod tests {
    use tracer_common::record::{RECORD_VERSION, SocketRecord};

    use super::*;

    fn socket_record(kind: RecordKind, id: u64, flags: u16, lport: u16) -> [u64; 20] {
        let mut words = [0; 20];
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
            // Older, and there was no room for it either.
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
        // Some now, one that came meanwhile, and the others.
        let (mut place, mut lengths) = (0, Vec::new());
        while backlog.hand_out(&mut place, 2, |record| lengths.push(record.len())) {
            if lengths.len() == 2 {
                backlog.push(b"12");
            }
        }
        assert_eq!(lengths, [8, 0, 9, 1, 2]);
    }
}
