//! The merge of the two rings by time.
//!
//! A packet belongs to the connections of its moment. So before a record of the lifecycle, all packets up to its time
//! are applied; and packets up to the moment of a drain, once no record of the lifecycle can be older. A record may
//! have to wait for an answer: then everything behind it waits, too, and the core gets all records in order.

use std::{collections::VecDeque, task::Poll};

use tracer_common::{
    decode::{DecodeError, Record, decode},
    drops::{DropRecord, SegmentRecord},
    record::RecordKind,
};

use super::backlog::Backlog;

/// The most packets that wait; above it they stay in the ring, where a loss is counted.
const MOST_WAITING: usize = 1 << 16;

enum Packet {
    Drop(Box<DropRecord>),
    Segment(RecordKind, SegmentRecord),
}

impl Packet {
    fn record(&self) -> Record<'_> {
        match self {
            Self::Drop(record) => Record::Drop(record),
            Self::Segment(kind, record) => Record::Segment(*kind, record),
        }
    }
}

/// The packets that wait, in the order of time.
#[derive(Default)]
pub struct Packets(VecDeque<Packet>);

impl Packets {
    /// Whether there is room for more.
    pub fn has_room(&self) -> bool {
        self.0.len() < MOST_WAITING
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a drop from the ring.
    pub fn push_drop(&mut self, record: DropRecord) {
        self.0.push_back(Packet::Drop(Box::new(record)));
    }

    /// Adds a segment from the ring.
    pub fn push_segment(&mut self, kind: RecordKind, record: SegmentRecord) {
        self.0.push_back(Packet::Segment(kind, record));
    }

    /// Inserts a fold in the order of time: records that came from the ring meanwhile may be later.
    pub fn insert(&mut self, record: DropRecord) {
        let at = self.0.partition_point(|waiting| waiting.record().boot_ns() <= record.header.boot_ns);
        self.0.insert(at, Packet::Drop(Box::new(record)));
    }

    /// Passes on the packets up to `until`, or all.
    fn release(&mut self, until: Option<u64>, way: &mut impl Way) -> Poll<()> {
        while let Some(first) = self.0.front() {
            if until.is_some_and(|until| first.record().boot_ns() > until) {
                break;
            }
            if way.pass(first.record()).is_pending() {
                return Poll::Pending;
            }
            self.0.pop_front();
        }
        Poll::Ready(())
    }
}

/// Where the merged records go.
pub trait Way {
    /// Applies a record; [`Poll::Pending`]: an answer has to come first.
    fn pass(&mut self, record: Record<'_>) -> Poll<()>;
    /// Adds the packets that are in their ring.
    fn fetch(&mut self, packets: &mut Packets);
    /// Adds the packets of a connection that the kernel side still counts, as its last record comes.
    fn fetch_folds(&mut self, id: u64, packets: &mut Packets);
    /// Counts an undecodable record.
    fn refuse(&mut self, error: DecodeError);
}

/// The outcome of [`Merge::pass_waiting`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Number of passed records of the lifecycle.
    pub count: usize,
    /// More can be passed at once.
    pub more: bool,
    /// A record waits for an answer.
    pub waits: bool,
}

/// The records of both rings that wait.
#[derive(Default)]
pub struct Merge {
    /// Records of the lifecycle.
    pub lifecycle: Backlog,
    /// Packets.
    pub packets: Packets,
}

impl Merge {
    /// Passes on a record of the lifecycle from its ring, or keeps it: always if `hold`, else if it has to wait.
    pub fn take(&mut self, bytes: &[u8], hold: bool, way: &mut impl Way) {
        if hold || !self.lifecycle.is_empty() || pass(bytes, &mut self.packets, way).is_pending() {
            self.lifecycle.push(bytes);
        }
    }

    /// Passes on up to `most` waiting records, and then, if none is left, the packets up to `until`: the ring has no
    /// older record.
    pub fn pass_waiting(&mut self, most: usize, until: Option<u64>, way: &mut impl Way) -> Passed {
        let Self { lifecycle, packets } = self;
        let mut passed = Passed::default();
        while let Some(bytes) = lifecycle.front() {
            if passed.count == most {
                passed.more = true;
                break;
            }
            if pass(bytes, packets, way).is_pending() {
                passed.waits = true;
                break;
            }
            lifecycle.pop();
            passed.count += 1;
        }
        if lifecycle.is_empty() && until.is_some() {
            passed.waits = packets.release(until, way).is_pending();
        }
        passed
    }
}

/// Passes on a record of the lifecycle after the packets before it.
fn pass(bytes: &[u8], packets: &mut Packets, way: &mut impl Way) -> Poll<()> {
    let record = match decode(bytes) {
        Ok(record) => record,
        Err(error) => {
            way.refuse(error);
            return Poll::Ready(());
        }
    };
    // All packets of a connection that closes are in their own ring by then.
    if let Record::Close(_) = record
        && packets.has_room()
    {
        way.fetch(packets);
    }
    if !packets.is_empty() && packets.release(Some(record.boot_ns()), way).is_pending() {
        return Poll::Pending;
    }
    if let Record::Close(close) = record {
        way.fetch_folds(close.socket.state.id, packets);
        if packets.release(Some(record.boot_ns()), way).is_pending() {
            return Poll::Pending;
        }
    }
    way.pass(record)
}

#[cfg(test)]
mod tests;
