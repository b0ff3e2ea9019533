//! Folds equal drops: the agent gets the first few as records, and a count of those that followed.
//!
//! Drops with the same reason, location, device and flow are equal. Above a limit per tenth of a
//! second even first ones are folded: then a new kind is counted by reason and location only.

use tracer_common::{
    audit::Outcome,
    counter::Counter,
    drops::{DROP_MIXED, DROP_STACK, DropRecord, FLOW_FOLDS, Fold, Held, TOLD_OF_A_KIND, mixed_place},
    packet::Packet,
    record::RecordKind,
    settings::{FILTER_NETNS, WANT_STACKS},
};

use super::memory::FOLDS;
use super::{
    Dropped, Scratch, attribution, budget, lost, now, reason, ring,
    skb::{Skb, checked, number},
    stack,
};
use crate::{
    counter::count,
    emit, filter,
    globals::{filters, wants},
    identity::{self, Site},
    lane::Lane,
    offset, setting,
};

/// After this time the next drop of the same kind is reported again.
const INTERVAL_NS: u64 = 1_000_000_000;

/// Accounts for one packet.
///
/// # Safety
/// `scratch` is this CPU's, and no other program works on it.
#[inline(always)]
pub unsafe fn account<S: Skb>(drop: Dropped<S>, scratch: &mut Scratch) -> Outcome {
    // First: an unwanted drop takes neither time nor a place from the wanted ones.
    let Some(action) = reason::action(drop.reason) else { return filtered() };
    // Early, while only one path leads here: for each load of a pointer from a trusted structure the
    // verifier searches the names of all the kernel's types, which takes up to a millisecond
    // (`btf_nested_type_is_trusted`, 6.3).
    let dev = drop.skb.pointer(offset!(skb_dev), scratch);
    let sk = drop.skb.pointer(offset!(skb_sk), scratch);
    let rx_sk = number(drop.rx_sk, scratch);
    let (dev, sk) = (checked(dev), checked(sk));
    // Before it gets a place: unwanted drops, however many, take no place from the wanted ones.
    let owner = if rx_sk != 0 { rx_sk } else { sk };
    if filters(FILTER_NETNS) && attribution::netns_of_packet_passes(dev, owner) == 0 {
        return filtered();
    }
    drop.skb.read_packet(scratch);
    if reason::leaves_out(action, owner) {
        return filtered();
    }
    if filter::judges_flows() && attribution::packet_passes(owner) == 0 {
        return filtered();
    }
    if scratch.packet.flow.family == 0 && sk != 0 {
        drop.skb.read_tcp(scratch);
    }
    let drop = Dropped { rx_sk, ..drop };
    let origin = if dev != 0 { dev } else { sk };
    let hash = flow_hash(&scratch.packet, drop.reason, drop.location, origin);
    let at = now();
    let place = hash as u32 % FLOW_FOLDS;
    let Some(fold) = FOLDS.get_ptr_mut(place) else { return lost() };
    // SAFETY: this CPU's own place.
    let fold = unsafe { &mut *fold };
    let same = fold.hash == hash && fold.begin != 0;
    let goes_on = same && at.wrapping_sub(fold.since_ns) < INTERVAL_NS;
    if goes_on && (fold.told >= TOLD_OF_A_KIND || fold.count > 0) {
        return add(fold, at);
    }
    if budget::may_tell(at) == 0 {
        return if same { add(fold, at) } else { mix(drop, scratch, dev, sk, at) };
    }
    if !goes_on {
        if !settle(fold) {
            return lost();
        }
        begin(fold, hash, at);
    }
    fold.told += 1;
    fill(place, &mut fold.record, drop, scratch, dev, sk, at);
    end(fold);
    if ring::output(&fold.record) {
        count(Counter::SentDrop);
        Outcome::Told
    } else {
        // The ring had no room: the next drop of this kind counts as the first.
        fold.hash = 0;
        lost()
    }
}

/// A filter keeps it out.
#[inline(always)]
fn filtered() -> Outcome {
    count(Counter::Filtered);
    Outcome::Filtered
}

/// One more of the same.
#[inline(always)]
fn add(fold: &mut Fold, at: u64) -> Outcome {
    fold.count += 1;
    fold.last_ns = at;
    count(Counter::FoldedDrop);
    Outcome::Folded
}

/// Folds a new kind of drop by reason and location only, once the budget is used up.
#[inline(always)]
fn mix<S: Skb>(drop: Dropped<S>, scratch: &mut Scratch, dev: u64, sk: u64, at: u64) -> Outcome {
    let hash = mixed(mixed(setting!(drops_seed), drop.location), u64::from(drop.reason));
    let place = place_of_mixed(hash, at);
    let Some(fold) = FOLDS.get_ptr_mut(place) else { return lost() };
    // SAFETY: this CPU's own place.
    let fold = unsafe { &mut *fold };
    if fold.begin == 0 || fold.hash != hash {
        if !settle(fold) {
            return lost();
        }
        begin(fold, hash, at);
        fill(place, &mut fold.record, drop, scratch, dev, sk, at);
        fold.record.flags |= DROP_MIXED;
        end(fold);
    }
    add(fold, at)
}

/// Returns the place of the kind with this hash; `NO_PLACE` if all are taken. A global function, so that the verifier
/// follows its loop once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn place_of_mixed(hash: u64, at: u64) -> u32 {
    mixed_place(hash, at, |place| match FOLDS.get_ptr(place) {
        // SAFETY: this CPU's own place.
        Some(fold) => unsafe { Held { begin: (*fold).begin, hash: (*fold).hash, last_ns: (*fold).last_ns } },
        None => Held { begin: 0, hash: 0, last_ns: 0 },
    })
}

/// Reports the count of a fold, if it has one, before another takes its place. Returns whether that
/// worked; if not, the fold stays.
#[inline(always)]
fn settle(fold: &mut Fold) -> bool {
    if fold.begin == 0 || fold.count == 0 {
        return true;
    }
    fold.record.fold = fold.begin;
    fold.record.first_ns = fold.since_ns;
    fold.record.count = fold.count;
    fold.record.header.boot_ns = fold.last_ns;
    ring::output(&fold.record)
}

/// Begins a fold.
#[inline(always)]
fn begin(fold: &mut Fold, hash: u64, at: u64) {
    // SAFETY: a live value; see `Fold` for the order.
    unsafe { core::ptr::write_volatile(&raw mut fold.end, identity::next(Site::Drop, Lane::First)) };
    fold.hash = hash;
    fold.since_ns = at;
    fold.told = 0;
    fold.count = 0;
    fold.last_ns = at;
}

/// Marks the fold's record as complete.
#[inline(always)]
fn end(fold: &mut Fold) {
    // SAFETY: as above.
    unsafe { core::ptr::write_volatile(&raw mut fold.begin, fold.end) };
}

#[inline(always)]
fn fill<S: Skb>(
    place: u32,
    record: &mut DropRecord,
    drop: Dropped<S>,
    scratch: &mut Scratch,
    dev: u64,
    sk: u64,
    at: u64,
) {
    record.header = emit::header(RecordKind::Drop, at);
    record.fold = 0;
    record.first_ns = at;
    record.count = 1;
    record.location = drop.location;
    record.reason = drop.reason;
    record.len = drop.skb.length(scratch.packet.flow.family != 0);
    record.packet = scratch.packet;
    record.flags = 0;
    record.stack = 0;
    // Only for reported drops: a stack costs more than all the rest, and folds are many.
    if wants(WANT_STACKS) {
        record.flags = DROP_STACK;
        record.stack = stack::take(drop.context);
    }
    let receives = if drop.rx_sk != 0 { attribution::RECEIVES } else { 0 };
    let owner = if drop.rx_sk != 0 { drop.rx_sk } else { sk };
    let (iif, refdst) = (drop.skb.u32(offset!(skb_iif)), drop.skb.u64(offset!(skb_refdst)));
    attribution::attribute_packet(place | receives, dev, owner, iif, refdst);
}

/// Returns the hash by which two drops are equal.
#[inline(always)]
fn flow_hash(packet: &Packet, reason: u32, location: u64, origin: u64) -> u64 {
    let flow = &packet.flow;
    let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    let ends = pair(u32::from(flow.sport) << 16 | u32::from(flow.dport), reason);
    let kinds = u64::from(flow.protocol) << 16 | u64::from(packet.icmp_type) << 8 | u64::from(packet.icmp_code);
    let mut hash = mixed(setting!(drops_seed), location);
    hash = mixed(hash, origin);
    hash = mixed(hash, ends);
    hash = mixed(hash, kinds);
    hash = mixed(hash, pair(flow.src[0], flow.dst[0]));
    if flow.family == 6 {
        hash = mixed(hash, pair(flow.src[1], flow.src[2]));
        hash = mixed(hash, pair(flow.src[3], flow.dst[1]));
        hash = mixed(hash, pair(flow.dst[2], flow.dst[3]));
    }
    hash
}

/// The finaliser of SplitMix64, shortened.
#[inline(always)]
fn mixed(hash: u64, value: u64) -> u64 {
    let hash = (hash ^ value).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^ hash >> 29
}
