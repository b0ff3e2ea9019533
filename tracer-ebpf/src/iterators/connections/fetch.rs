//! What is in no cache is waited for together if it is asked for together: so a few sockets of a part are looked at before
//! anything is done with one of them.

use super::{Walk, known, walk};
use crate::iterators::window::word;
use crate::{offset, store};

/// Buckets that are looked at together: a cache line.
pub(super) const BUCKETS: u64 = 8;
/// Sockets that are fetched together.
pub(super) const TOGETHER: usize = 4;
/// Places for what is fetched of a part: what the stack has room for.
pub(super) const NODES: usize = 4 * TOGETHER;
/// Beside so many those of one more group still have a place.
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
        // Without a branch, which the verifier would follow both ways each time. An empty bucket leaves its number there,
        // in whose place the next one's socket comes.
        // SAFETY: one of the places.
        unsafe { core::ptr::write_volatile((&raw mut (*walk).nodes).cast::<u64>().add(count as usize), first) };
        count += first & 1 ^ 1;
    }
    // With a bound that does not grow from group to group, or the verifier would follow each of them.
    store!(walk, found, count.min(MOST_FOUND));
    0
}

/// The node of no socket: that would lie at address 0, where nothing is looked for.
#[inline(always)]
pub(super) fn nowhere() -> u64 {
    u64::from(known!(skc_nulls_node))
}

/// Looks at the sockets of group `index`: first at something of each, which takes longest, since it is in no page that
/// was used before; then at their other lines; then at what they refer to.
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
