//! Steps from socket to socket, and from bucket to bucket.

use tracer_common::iterator::{ConnectionRecord, NEW_SYN_RECV, TIME_WAIT};

use super::{Walk, known, walk};
use crate::iterators::Record;
use crate::iterators::window::word;
use crate::{offset, store};

/// The most buckets and sockets of a part: far more than fit into the kernel's buffer.
pub(super) const MOST: u32 = 1 << 16;

/// Handles one socket, or the end of a bucket.
pub(super) extern "C" fn step(_index: u64, walk: *mut Walk) -> i64 {
    let next = walk!(walk, next);
    if next & 1 == 1 {
        return end_of_bucket(walk, next);
    }
    socket(walk, next)
}

#[inline(always)]
fn end_of_bucket(walk: *mut Walk, end: u64) -> i64 {
    let (buckets, bucket) = (walk!(walk, buckets), walk!(walk, bucket));
    if (end >> 1 ^ bucket) | (word(buckets + bucket * 8, 0) ^ walk!(walk, first)) != 0 {
        store!(walk, changed, 1);
        return 1;
    }
    let mut bucket = bucket + 1;
    if bucket & 7 == 0 {
        // Most buckets are empty: skips eight at once, one cache line.
        let at = buckets + bucket * 8;
        let all = word(at, 0) & word(at, 8) & word(at, 16) & word(at, 24);
        let all = all & word(at, 32) & word(at, 40) & word(at, 48) & word(at, 56);
        if all & 1 == 1 && bucket + 8 <= walk!(walk, end) {
            bucket += 7;
        }
    }
    store!(walk, bucket, bucket);
    if bucket >= walk!(walk, end) {
        return 1;
    }
    let first = word(buckets + bucket * 8, 0);
    store!(walk, first, first);
    store!(walk, next, first);
    0
}

#[inline(always)]
fn socket(walk: *mut Walk, node: u64) -> i64 {
    let sk = node - u64::from(known!(skc_nulls_node));
    let hash = word(sk, known!(skc_hash)) as u32;
    let state = word(sk, offset!(skc_state)) as u8;
    let file = word(sk, offset!(sk_socket));
    store!(walk, next, word(sk, known!(skc_nulls_node)));
    // The kernel inserts a connection's successor at the beginning of the chain before it removes the connection
    // (`inet_twsk_hashdance`): then a later socket repeats the first one's tuple.
    // Not by the hash alone: all sockets in a chain share most of its bits.
    let ports = word(sk, offset!(skc_dport)) << 16 ^ word(sk, offset!(skc_num)) & 0xffff;
    let tuple = (u64::from(hash) << 32 | ports & 0xffff_ffff) ^ word(sk, offset!(skc_daddr));
    if node == walk!(walk, first) {
        store!(walk, first_tuple, tuple);
    } else if tuple == walk!(walk, first_tuple) {
        store!(walk, changed, 1);
        return 1;
    }
    // As in the kernel's walks: a socket without references is about to leave the chain, or is not yet ready.
    if word(sk, known!(skc_refcnt)) as u32 == 0 {
        return 0;
    }
    let mut record = Record::<ConnectionRecord>::new();
    let place = record.place();
    store!(place, raddr, word(sk, offset!(skc_daddr)) as u32);
    store!(place, laddr, word(sk, offset!(skc_rcv_saddr)) as u32);
    store!(place, raddr_v6[0], word(sk, offset!(skc_v6_daddr)));
    store!(place, raddr_v6[1], word(sk, offset!(skc_v6_daddr) + 8));
    store!(place, laddr_v6[0], word(sk, offset!(skc_v6_rcv_saddr)));
    store!(place, laddr_v6[1], word(sk, offset!(skc_v6_rcv_saddr) + 8));
    store!(place, netns, word(word(sk, offset!(skc_net)), offset!(net_inum)) as u32);
    store!(place, rport, word(sk, offset!(skc_dport)) as u16);
    store!(place, lport, word(sk, offset!(skc_num)) as u16);
    store!(place, ifindex, word(sk, offset!(skc_bound_dev_if)) as u32);
    store!(place, family, word(sk, offset!(skc_family)) as u8);
    // Request and TIME_WAIT sockets are smaller than a full socket.
    let mut differences = 0;
    if state != TIME_WAIT && state != NEW_SYN_RECV {
        store!(place, inode, word(file, offset!(socket_inode)));
        store!(place, uid, word(sk, known!(sk_uid)) as u32);
        store!(place, rcv_nxt, word(sk, offset!(rcv_nxt)) as u32);
        store!(place, copied_seq, word(sk, offset!(copied_seq)) as u32);
        store!(place, write_seq, word(sk, offset!(write_seq)) as u32);
        store!(place, snd_una, word(sk, offset!(snd_una)) as u32);
        store!(place, substate, 0);
        differences = word(sk, offset!(sk_socket)) ^ file;
    } else {
        store!(place, inode, 0);
        store!(place, uid, 0);
        store!(place, rcv_nxt, 0);
        store!(place, copied_seq, 0);
        store!(place, write_seq, 0);
        store!(place, snd_una, 0);
        store!(place, substate, word(sk, offset!(tw_substate)) as u8);
    }
    store!(place, state, state);
    store!(place, alone, walk!(walk, alone) as u8);
    store!(place, reserved, 0);
    // One comparison for all: the verifier would follow each of several both ways.
    differences |= u64::from(word(sk, known!(skc_hash)) as u32 ^ hash);
    differences |= u64::from(word(sk, offset!(skc_state)) as u8 ^ state);
    if differences != 0 {
        store!(walk, changed, 1);
        return 1;
    }
    // SAFETY: every field is stored; the reader's file, from the iterator's context.
    unsafe { record.write(walk!(walk, seq)) };
    0
}
