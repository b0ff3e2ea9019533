//! A record on its way from the ring into the core.

use log::debug;
use tracer_common::{
    decode::{Record, decode},
    drops::TOLD_OF_A_KIND,
    record::RecordKind,
};

use super::Lost;
use crate::{
    core::{Core, Input},
    feed::PacketFeed,
    filter::Filter,
    proc::root::ProcRoot,
    snapshot,
    stream::{Event, Sink},
};

/// One record from the ring, after the packets of the time before it.
pub fn tell(
    bytes: &[u8],
    feed: Option<&mut PacketFeed>,
    core: &mut Core<Filter>,
    root: &ProcRoot,
    sink: &mut dyn Sink,
    lost: &mut Lost,
) {
    release_before(bytes, feed, core, root, sink, &mut lost.undecoded);
    take(bytes, core, root, sink, lost);
}

/// Packets that were told of before the record in `bytes`. Of a connection that closes all are there
/// by then, in their own ring.
fn release_before(
    bytes: &[u8],
    feed: Option<&mut PacketFeed>,
    core: &mut Core<Filter>,
    root: &ProcRoot,
    sink: &mut dyn Sink,
    undecoded: &mut u64,
) {
    let Some(feed) = feed else { return };
    let closes = bytes.first() == Some(&(RecordKind::Close as u8));
    if closes && feed.has_room() {
        feed.drain(undecoded);
    }
    if !closes && !feed.is_waiting() {
        return;
    }
    let Ok(record) = decode(bytes) else { return };
    let until = Some(record.boot_ns());
    feed.release(until, core, root, sink);
    // The kernel side may still be counting its last ones.
    if let Record::Close(close) = record
        && core.drops_of(close.socket.state.id) >= TOLD_OF_A_KIND
    {
        feed.sweep_for_close();
        feed.release(until, core, root, sink);
    }
}

/// One record from the ring into the core, after what /proc can add.
fn take(bytes: &[u8], core: &mut Core<Filter>, root: &ProcRoot, sink: &mut dyn Sink, lost: &mut Lost) {
    let record = match decode(bytes) {
        Ok(record) => record,
        Err(error) => {
            debug!("{error}");
            lost.undecoded += 1;
            return;
        }
    };
    if let Some((pid, start_ns)) = core.wants(&record) {
        let process = snapshot::process_snapshot(root, pid).filter(|process| process.is_about(start_ns));
        // Without a start in the record every look is a first one.
        let settled = process.is_none() || start_ns != 0;
        if let Some(process) = process {
            core.apply(Input::Process(process), &mut Nowhere);
        }
        if settled {
            core.apply(Input::NoProcess(pid, start_ns), &mut Nowhere);
        }
    }
    if let Record::Fork(_) | Record::Exec(_) | Record::Exit(_) = record {
        core.apply(Input::Record(record), &mut Nowhere);
    } else {
        core.apply(Input::Record(record), sink);
    }
}

/// For inputs that say nothing.
pub struct Nowhere;

impl Sink for Nowhere {
    fn event(&mut self, _: &Event<'_>) {}
}
