//! Which listener a connection came in by.
//!
//! Where several listen on one port (`SO_REUSEPORT`) the tuple does not tell, and the child has no pointer to its
//! listener. But it begins as a copy of it (`sk_clone_lock`), and the transition `LISTEN → SYN_RECV` is traced before
//! the lists are made its own (`tcp_create_openreq_child`): `tsorted_sent_queue`, empty in a listener and so pointing at
//! itself, still points into the listener. What is found is kept in a place of the CPU until `ESTABLISHED`, which
//! follows in the same softirq.

use crate::{
    maps::BIRTHS,
    offset,
    sock::{Raw, Sock},
};
use tracer_common::settings::ABSENT;

/// The child that was born last on a CPU.
#[repr(C)]
pub struct Birth {
    /// Address of its `struct sock`; 0 for none.
    child: u64,
    /// Inode of its listener.
    listener: u64,
}

/// `LISTEN → SYN_RECV`.
#[inline(always)]
pub fn born<S: Sock>(child: S) {
    let queue = offset!(tsorted_sent_queue);
    if queue == ABSENT || offset!(sk_socket) == ABSENT {
        return;
    }
    let Some(birth) = BIRTHS.get_ptr_mut(0) else { return };
    let (next, previous) = (child.u64(queue), child.u64(queue + 8));
    // SAFETY: this CPU's own place. In a softirq, which no other one interrupts.
    unsafe {
        // What comes back from there is a number, no pointer: of those the verifier forbids arithmetic.
        (&raw mut (*birth).listener).write_volatile(next);
        let next_as_number = (&raw const (*birth).listener).read_volatile();
        let mut listener = 0;
        if next == previous {
            listener = super::inode(Raw(next_as_number.wrapping_sub(u64::from(queue))));
        }
        (&raw mut (*birth).listener).write_volatile(listener);
        (&raw mut (*birth).child).write_volatile(child.address());
    }
}

/// Inode of the listener of the child at `sk`, which becomes `ESTABLISHED`; 0 if that is not known.
#[inline(always)]
pub fn listener(sk: u64) -> u32 {
    let Some(birth) = BIRTHS.get_ptr_mut(0) else { return 0 };
    // SAFETY: this CPU's own place.
    unsafe {
        if (&raw const (*birth).child).read_volatile() != sk {
            return 0;
        }
        // Not for the next one that has this memory.
        (&raw mut (*birth).child).write_volatile(0);
        (&raw const (*birth).listener).read_volatile() as u32
    }
}
