//! Reads the drops that the kernel side has only counted: those equal to one in a record.

use std::collections::HashMap;

use aya::maps::{MapData, PerCpuArray};
use tracer_common::drops::{DropRecord, FOLDS, Fold};

/// The part of a fold that was already emitted.
#[derive(Clone, Copy, Debug)]
struct Told {
    count: u64,
    last_ns: u64,
}

/// The account of all folds. It emits every part once: the kernel side's own record of a fold, which comes when another
/// takes its place, passes through [`Account::settle`].
#[derive(Debug, Default)]
pub struct Account {
    told: HashMap<u64, Told>,
}

impl Account {
    /// The part of a fold that is counted but not emitted yet, with its count and times.
    pub fn sweep(&mut self, fold: &Fold) -> Option<DropRecord> {
        // The fold is being written, or empty.
        if fold.begin != fold.end || fold.begin == 0 || fold.count == 0 {
            return None;
        }
        let told = self.told.entry(fold.begin).or_insert(Told { count: 0, last_ns: fold.since_ns });
        let count = fold.count.saturating_sub(told.count);
        if count == 0 {
            return None;
        }
        let mut record = fold.record;
        record.fold = fold.begin;
        record.count = count;
        record.first_ns = told.last_ns;
        record.header.boot_ns = fold.last_ns;
        *told = Told { count: fold.count, last_ns: fold.last_ns };
        Some(record)
    }

    /// Passes a record from the ring; of a fold's record, only the part that is not emitted yet.
    pub fn settle(&mut self, record: &DropRecord) -> Option<DropRecord> {
        let mut record = *record;
        if record.fold != 0
            && let Some(told) = self.told.remove(&record.fold)
        {
            record.count = record.count.saturating_sub(told.count);
            record.first_ns = told.last_ns;
        }
        (record.count > 0).then_some(record)
    }
}

/// The kernel side's folds.
pub struct Folds {
    map: PerCpuArray<MapData, Fold>,
    account: Account,
    /// The kernel side's count at the last read.
    folded: u64,
}

impl std::fmt::Debug for Folds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Folds").field("account", &self.account).finish_non_exhaustive()
    }
}

impl Folds {
    /// Takes the map over.
    #[must_use]
    pub fn new(map: PerCpuArray<MapData, Fold>) -> Self {
        Self { map, account: Account::default(), folded: 0 }
    }

    /// See [`Account::settle`].
    pub fn settle(&mut self, record: &DropRecord) -> Option<DropRecord> {
        self.account.settle(record)
    }

    /// Returns the folds since the last time, oldest first. `folded` is the kernel side's count, if known: while it
    /// does not change there is nothing to read.
    pub fn sweep(&mut self, folded: Option<u64>) -> Vec<DropRecord> {
        if let Some(folded) = folded {
            if folded == self.folded {
                return Vec::new();
            }
            self.folded = folded;
        }
        let Self { map, account, .. } = self;
        let mut records: Vec<DropRecord> = (0..FOLDS)
            .filter_map(|index| map.get(&index, 0).ok())
            .flat_map(|cpus| cpus.iter().filter_map(|fold| account.sweep(fold)).collect::<Vec<_>>())
            .collect();
        records.sort_by_key(|record| (record.header.boot_ns, record.fold));
        records
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::{
        drops::{NO_REASON, PacketSocket},
        packet::Packet,
        record::{Header, RECORD_VERSION, RecordKind},
    };

    use super::*;

    fn record(fold: u64, count: u64, first_ns: u64, boot_ns: u64) -> DropRecord {
        DropRecord {
            header: Header { kind: RecordKind::Drop as u8, version: RECORD_VERSION, reserved: [0; 6], boot_ns },
            fold,
            first_ns,
            count,
            location: 0,
            reason: NO_REASON,
            len: 0,
            ifindex: 0,
            netns: 0,
            iface: [0; 16],
            packet: Packet::default(),
            direction: 0,
            flags: 0,
            stack: 0,
            socket: PacketSocket::NONE,
        }
    }

    fn fold(number: u64, count: u64, last_ns: u64) -> Fold {
        Fold {
            begin: number,
            hash: 0,
            since_ns: 10,
            told: 1,
            count,
            last_ns,
            record: record(0, 1, 10, 10),
            end: number,
        }
    }

    #[test]
    fn every_packet_is_told_once_whoever_tells_first() {
        let mut account = Account::default();
        assert_eq!(account.sweep(&fold(7, 100, 20)), Some(record(7, 100, 10, 20)));
        assert_eq!(account.sweep(&fold(7, 100, 20)), None);
        assert_eq!(account.sweep(&fold(7, 130, 30)), Some(record(7, 30, 20, 30)));
        // Another fold takes its place: the kernel side's record has the whole fold.
        assert_eq!(account.settle(&record(7, 150, 10, 40)), Some(record(7, 20, 30, 40)));
        // The next fold in its place was swept before that record came.
        assert_eq!(account.sweep(&fold(8, 5, 50)), Some(record(8, 5, 10, 50)));
        assert_eq!(account.settle(&record(8, 5, 10, 50)), None);
        // Never swept.
        assert_eq!(account.settle(&record(9, 3, 10, 60)), Some(record(9, 3, 10, 60)));
        assert_eq!(account.settle(&record(0, 1, 10, 10)), Some(record(0, 1, 10, 10)));
        assert!(account.told.is_empty());
    }

    #[test]
    fn what_is_being_written_waits() {
        let mut account = Account::default();
        assert_eq!(account.sweep(&Fold { end: 8, ..fold(7, 100, 20) }), None);
        assert_eq!(account.sweep(&fold(0, 100, 20)), None);
    }
}
