//! Reads what the kernel side has only counted: drops that equal one that was told.

use std::collections::HashMap;

use aya::maps::{MapData, PerCpuArray};
use tracer_common::drops::{DropRecord, FOLDS, Fold};

/// How much of a fold was told already.
#[derive(Clone, Copy, Debug)]
struct Told {
    count: u64,
    last_ns: u64,
}

/// The account of all folds. Nothing that it tells is told twice: the kernel's own account of a fold,
/// which comes when its place is taken by another, is passed through [`Account::settle`].
#[derive(Debug, Default)]
pub struct Account {
    told: HashMap<u64, Told>,
}

impl Account {
    /// What of a fold that the kernel side has counted so far is not told yet; with the count and the
    /// times of that part.
    pub fn sweep(&mut self, fold: &Fold) -> Option<DropRecord> {
        // It is being written, or empty.
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

    /// A record from the ring; of the account of a fold only what is not told yet.
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
    /// What had been folded when they were last read.
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

    /// Hands out what was folded since the last time, oldest first. `folded` is the kernel side's
    /// count, if it is known: while it stands still there is nothing to read.
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
        // Its place is taken: the kernel tells of the whole fold.
        assert_eq!(account.settle(&record(7, 150, 10, 40)), Some(record(7, 20, 30, 40)));
        // The next one in its place was swept before that record came.
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
