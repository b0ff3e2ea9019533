//! The order of the records of two rings, with made-up ones.

use tracer_common::{
    drops::DropRecord,
    record::{CloseRecord, ForkRecord, RECORD_VERSION},
};

use super::*;

/// A record as the kernel side writes it: aligned words.
fn bytes<T: Copy>(kind: RecordKind, at: u64) -> Vec<u64> {
    let mut words = vec![0u64; size_of::<T>() / 8];
    words[0] = u64::from_ne_bytes([kind as u8, RECORD_VERSION, 0, 0, 0, 0, 0, 0]);
    words[1] = at;
    words
}

fn as_bytes(words: &[u64]) -> &[u8] {
    // SAFETY: initialised words, of which each byte is a `u8`.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

fn packet(at: u64) -> DropRecord {
    let words = bytes::<DropRecord>(RecordKind::Drop, at);
    match decode(as_bytes(&words)) {
        Ok(Record::Drop(record)) => *record,
        other => panic!("{other:?}"),
    }
}

/// Notes what passes; `blocked` waits for an answer.
#[derive(Default)]
struct Noted {
    passed: Vec<(char, u64)>,
    blocked: Option<u64>,
    /// In the packets' ring, until they are fetched.
    ring: Vec<u64>,
    /// Still counted by the kernel side.
    folds: Vec<u64>,
    refused: usize,
}

impl Way for Noted {
    fn pass(&mut self, record: Record<'_>) -> Poll<()> {
        if self.blocked == Some(record.boot_ns()) {
            return Poll::Pending;
        }
        let kind = match record {
            Record::Drop(_) => 'd',
            Record::Close(_) => 'c',
            _ => 'f',
        };
        self.passed.push((kind, record.boot_ns()));
        Poll::Ready(())
    }
    fn fetch(&mut self, packets: &mut Packets) {
        for at in self.ring.drain(..) {
            packets.push_drop(packet(at));
        }
    }
    fn fetch_folds(&mut self, _: u64, packets: &mut Packets) {
        for at in self.folds.drain(..) {
            packets.insert(packet(at));
        }
    }
    fn refuse(&mut self, _: DecodeError) {
        self.refused += 1;
    }
}

fn fork(at: u64) -> Vec<u64> {
    bytes::<ForkRecord>(RecordKind::Fork, at)
}

#[test]
fn packets_come_before_the_records_that_are_later() {
    let (mut merge, mut noted) = (Merge::default(), Noted::default());
    for at in [5, 15, 35] {
        merge.packets.push_drop(packet(at));
    }
    for at in [10, 20] {
        merge.take(as_bytes(&fork(at)), false, &mut noted);
    }
    assert_eq!(noted.passed, [('d', 5), ('f', 10), ('d', 15), ('f', 20)]);
    // The ring has no record older than 30; one may be older than 35.
    assert_eq!(merge.pass_waiting(9, Some(30), &mut noted), Passed::default());
    assert_eq!(noted.passed.len(), 4);
    merge.pass_waiting(9, Some(35), &mut noted);
    assert_eq!(noted.passed.last(), Some(&('d', 35)));
}

#[test]
fn a_close_comes_after_all_packets_of_its_time_and_none_of_a_later_one() {
    let mut noted = Noted { ring: vec![7, 12], folds: vec![6, 11], ..Noted::default() };
    let mut merge = Merge::default();
    merge.take(as_bytes(&bytes::<CloseRecord>(RecordKind::Close, 10)), false, &mut noted);
    assert_eq!(noted.passed, [('d', 7), ('d', 6), ('c', 10)]);
    merge.pass_waiting(9, Some(20), &mut noted);
    assert_eq!(noted.passed[3..], [('d', 11), ('d', 12)], "folds are inserted by time");
}

#[test]
fn what_waits_holds_up_everything_behind_it() {
    let mut noted = Noted { blocked: Some(10), ..Noted::default() };
    let mut merge = Merge::default();
    for at in [10, 20, 30] {
        merge.take(as_bytes(&fork(at)), false, &mut noted);
    }
    merge.packets.push_drop(packet(15));
    assert_eq!(merge.pass_waiting(9, Some(40), &mut noted), Passed { waits: true, ..Passed::default() });
    assert!(noted.passed.is_empty());
    // A packet that waits holds up the record behind it, which is passed once.
    noted.blocked = Some(15);
    assert_eq!(merge.pass_waiting(9, Some(40), &mut noted), Passed { count: 1, waits: true, more: false });
    noted.blocked = None;
    assert_eq!(merge.pass_waiting(1, Some(40), &mut noted), Passed { count: 1, more: true, waits: false });
    assert_eq!(merge.pass_waiting(9, Some(40), &mut noted).count, 1);
    assert_eq!(noted.passed, [('f', 10), ('d', 15), ('f', 20), ('f', 30)]);
}

#[test]
fn what_is_no_record_is_counted_and_holds_up_nothing() {
    let (mut merge, mut noted) = (Merge::default(), Noted::default());
    merge.take(b"not a record", true, &mut noted);
    merge.take(as_bytes(&fork(10)), true, &mut noted);
    assert!(noted.passed.is_empty() && noted.refused == 0, "held");
    assert_eq!(merge.pass_waiting(9, None, &mut noted).count, 2);
    assert_eq!((noted.passed, noted.refused), (vec![('f', 10)], 1));
}
