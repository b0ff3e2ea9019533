//! Loads a few sockets of a part into the caches before `step` reads the first of them: the processor waits for
//! uncached lines together if the program asks for them together.

use super::{Walk, known, walk};
use crate::iterators::window::word;
use crate::{offset, store};

/// Buckets read together: a cache line.
pub(super) const BUCKETS: u64 = 8;
/// Sockets fetched together.
pub(super) const TOGETHER: usize = 4;
/// Places for a part's sockets: as many as the stack has room for.
pub(super) const NODES: usize = 4 * TOGETHER;
/// The most sockets found that leave places for one more group.
pub(super) const MOST_FOUND: u64 = 7;

const _: () = assert!(MOST_FOUND + BUCKETS < NODES as u64);

/// Finds the first sockets of the buckets in group `index`.
pub(super) extern "C" fn find(index: u64, walk: *mut Walk) -> i64 {
    let at = walk!(walk, buckets) + (walk!(walk, bucket) + index * BUCKETS) * 8;
    let first: [u64; BUCKETS as usize] = core::array::from_fn(|bucket| word(at, bucket as u32 * 8));
    if first.iter().fold(1, |all, first| all & first) == 1 {
        return 0;
    }
    let mut count = walk!(walk, found) & MOST_FOUND;
    for first in first {
        // No branch: the verifier would follow each both ways. An empty bucket leaves its end mark there; the next
        // bucket's socket overwrites it.
        // SAFETY: one of the places.
        unsafe { core::ptr::write_volatile((&raw mut (*walk).nodes).cast::<u64>().add(count as usize), first) };
        count += first & 1 ^ 1;
    }
    // The bound is the same for every group, or the verifier would follow each of them.
    store!(walk, found, count.min(MOST_FOUND));
    0
}

/// Returns the node of no socket: its socket would lie at address 0, where there is no memory.
#[inline(always)]
pub(super) fn nowhere() -> u64 {
    u64::from(known!(skc_nulls_node))
}

/// Reads the sockets of group `index`: first one line of each, which takes longest, because no earlier read used that
/// page; then their other lines; then the structures that they point to.
pub(super) extern "C" fn fetch(index: u64, walk: *mut Walk) -> i64 {
    let begin = (index as usize & (NODES / TOGETHER - 1)) * TOGETHER;
    let sk: [u64; TOGETHER] = core::array::from_fn(|at| {
        // SAFETY: one of the places.
        let node = unsafe { core::ptr::read_volatile((&raw const (*walk).nodes).cast::<u64>().add(begin + at)) };
        node - nowhere()
    });
    for sk in sk {
        word(sk, known!(skc_hash));
    }
    for sk in sk {
        word(sk, offset!(skc_daddr));
        word(sk, known!(skc_refcnt));
        word(sk, offset!(sk_socket));
        word(sk, known!(sk_uid));
        word(sk, offset!(rcv_nxt));
        word(sk, offset!(copied_seq));
        word(sk, offset!(write_seq));
        word(sk, offset!(snd_una));
    }
    for sk in sk {
        word(word(sk, offset!(sk_socket)), offset!(socket_inode));
    }
    0
}
