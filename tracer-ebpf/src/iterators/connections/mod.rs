//! `iter/bpf_map_elem`: the kernel's table of TCP connections, read straight from its memory.
//!
//! sock_diag reads one socket after another and locks each bucket. For each socket the processor waits for eleven or
//! twelve uncached lines, one by one. This program reads several sockets together (`fetch`), with plain loads
//! ([`super::window`]) and no lock.
//!
//! As in the kernel's own lookups (`__inet_lookup_established`), RCU keeps the memory a TCP socket, though perhaps
//! another one. A chain counts only if it ends with its own end mark (`hlist_nulls`) and still has the same beginning
//! then, because the kernel inserts and moves sockets there. A socket counts only if it afterwards still has the same
//! hash, state and file. Otherwise the program reports the part as changed (`step`).
//!
//! The iterator walks an empty array map: each element stands for a part of the table, small enough for the kernel's
//! buffer (32 KiB).

mod fetch;
mod step;

use core::ffi::c_void;
use core::mem::MaybeUninit;

use aya_ebpf::Global;
use aya_ebpf::bindings::seq_file;
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_loop};
use tracer_common::iterator::{CHANGED, ConnectionRecord, Connections};

use super::window::word;
use super::{Meta, Record};
use crate::store;

/// See [`Connections`].
#[unsafe(no_mangle)]
pub static CONNECTIONS: Global<Connections> = Global::new(Connections::NONE);

/// Reads one field of [`CONNECTIONS`].
macro_rules! known {
    ($field:ident) => {{
        let known =
            (&raw const $crate::iterators::connections::CONNECTIONS).cast::<tracer_common::iterator::Connections>();
        // SAFETY: `Global` is `repr(transparent)` over an initialised `Connections`.
        #[allow(unused_unsafe, reason = "some users stand in an unsafe block already")]
        let value = unsafe { core::ptr::read_volatile(&raw const (*known).$field) };
        value
    }};
}
use known;

/// Reads one field of a [`Walk`].
macro_rules! walk {
    ($walk:expr, $field:ident) => {{
        // SAFETY: `iter_connections` has stored all of them.
        #[allow(unused_unsafe, reason = "some users stand in an unsafe block already")]
        let value = unsafe { core::ptr::read_volatile(&raw const (*$walk).$field) };
        value
    }};
}
use walk;

#[repr(C)]
pub struct Context {
    meta: *const Meta,
    map: *const u8,
    key: *const u32,
    value: *const u8,
}

/// The program's position in its part of the table.
#[repr(C)]
struct Walk {
    seq: *mut seq_file,
    /// Not 0: the table belongs to one namespace alone.
    alone: u64,
    /// Address of the first bucket of the table.
    buckets: u64,
    /// Number of the bucket.
    bucket: u64,
    /// Number of the first bucket behind the part.
    end: u64,
    /// The first node of the bucket when the program came to it.
    first: u64,
    /// The next socket, or the end of the bucket.
    next: u64,
    /// Hash, ports and IPv4 addresses of `first`, mixed.
    first_tuple: u64,
    /// Not 0: the chain or a socket changed during the read.
    changed: u64,
    /// Number of sockets in `nodes`.
    found: u64,
    nodes: [u64; fetch::NODES],
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_map_elem")]
pub unsafe extern "C" fn iter_connections(ctx: *const Context) -> i32 {
    // SAFETY: the kernel's context; the key is null at the end.
    let (meta, key) = unsafe { ((*ctx).meta, (*ctx).key) };
    if key.is_null() {
        return 0;
    }
    // SAFETY: not null; keys have four bytes.
    let part = u64::from(unsafe { core::ptr::read_volatile(key) });
    // SAFETY: takes nothing.
    let task = unsafe { bpf_get_current_task() };
    let net = word(word(task, known!(task_nsproxy)), known!(nsproxy_net_ns));
    // A namespace may have a table of its own (`net.ipv4.tcp_child_ehash_entries`); most share one.
    let table = word(net, known!(net_hashinfo));
    let count = (word(table, known!(hashinfo_ehash_mask)) & u64::from(u32::MAX)) + 1;
    // The compiler does not know that it is never zero. All three are powers of two.
    let parts = u64::from(known!(parts)).max(1);
    let each = (count / parts).max(1);
    let bucket = part * each;
    if bucket >= count {
        return 0;
    }
    // A zero that the verifier cannot know: else it would follow the loops again for each value that grows from it.
    let zero = word(0, 0);
    let buckets = word(table, known!(hashinfo_ehash));
    let first = word(buckets + bucket * 8, 0);
    // SAFETY: the context is the kernel's; every field of `walk` is stored.
    unsafe {
        let seq = (*meta).seq;
        let mut walk = MaybeUninit::<Walk>::uninit();
        let place = walk.as_mut_ptr();
        store!(place, seq, seq);
        store!(place, alone, word(table, known!(hashinfo_pernet)) & 0xff);
        store!(place, buckets, buckets);
        store!(place, bucket, bucket);
        store!(place, end, bucket + each);
        store!(place, first, first);
        store!(place, next, first);
        store!(place, first_tuple, zero);
        store!(place, changed, zero);
        store!(place, found, zero);
        for at in 0..fetch::NODES {
            core::ptr::write_volatile((&raw mut (*place).nodes).cast::<u64>().add(at), fetch::nowhere());
        }
        bpf_loop((each / fetch::BUCKETS) as u32, fetch::find as *mut c_void, place.cast(), 0);
        // `found` stops at its bound: then further sockets may lie behind it.
        let behind = if walk!(place, found) == fetch::MOST_FOUND { fetch::BUCKETS } else { 0 };
        let groups = (walk!(place, found) + behind).div_ceil(fetch::TOGETHER as u64);
        bpf_loop(groups as u32, fetch::fetch as *mut c_void, place.cast(), 0);
        bpf_loop(step::MOST, step::step as *mut c_void, place.cast(), 0);
        if walk!(place, changed) != 0 || walk!(place, bucket) != bucket + each {
            let mut record = Record::<ConnectionRecord>::new();
            let words = record.place().cast::<u64>();
            for at in 0..size_of::<ConnectionRecord>() / 8 {
                core::ptr::write_volatile(words.add(at), u64::from(CHANGED));
            }
            record.write(seq);
        }
    }
    0
}
