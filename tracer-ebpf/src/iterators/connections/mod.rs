//! `iter/bpf_map_elem`: the kernel's table of TCP connections, read as it lies there.
//!
//! sock_diag looks at one socket after another, and each time the processor waits for eleven or twelve cache lines
//! that no cache has, one by one; and it locks each bucket. Here they are plain loads ([`super::window`]), of several
//! sockets together (`fetch`), and nothing is locked.
//!
//! As in the kernel's own lookups (`__inet_lookup_established`) it is RCU that keeps the memory what it is: a TCP
//! socket, though perhaps another one. A chain is believed only if its beginning is the same when its end is reached,
//! for what is added or moves is put there, and if that end is its own (`hlist_nulls`); a socket, if afterwards it still
//! is where it was found, in the same state, and has the same file. Else the reader is told (`step`).
//!
//! The iterator goes through an array map that has nothing in it: each of its elements stands for a part of the table,
//! small enough for what the kernel gathers at a time (32 KiB).

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

/// Where in its part of the table the program is.
#[repr(C)]
struct Walk {
    seq: *mut seq_file,
    /// Not 0: the table is one namespace's alone.
    alone: u64,
    /// Address of the first bucket of the table.
    buckets: u64,
    /// Number of the bucket.
    bucket: u64,
    /// That of the first one behind the part.
    end: u64,
    /// What the bucket began with.
    first: u64,
    /// The socket that comes next, or the end of the bucket.
    next: u64,
    /// Hash, ports and IPv4 addresses of that, mixed.
    first_tuple: u64,
    /// Not 0: what was read is not certain.
    changed: u64,
    /// How many of `nodes` are sockets.
    found: u64,
    nodes: [u64; fetch::NODES],
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_map_elem")]
pub unsafe extern "C" fn iter_connections(ctx: *const Context) -> i32 {
    // SAFETY: the context that the kernel gives; the key is null at the end.
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
    // Never zero, which the compiler does not know. All are powers of two.
    let parts = u64::from(known!(parts)).max(1);
    let each = (count / parts).max(1);
    let bucket = part * each;
    if bucket >= count {
        return 0;
    }
    // A zero that the verifier does not know: it would follow the loops as often as numbers that begin with it change.
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
        // Where there are more than was counted, the last ones stand behind.
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
