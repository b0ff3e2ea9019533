//! The listener of a new connection.
//!
//! The tuple does not identify the listener if several listen on one port (`SO_REUSEPORT`), and the child has no
//! pointer to it. But the child begins as a copy of its listener (`sk_clone_lock`), and the kernel traces
//! `LISTEN → SYN_RECV` before it gives the child lists of its own (`tcp_create_openreq_child`): `tsorted_sent_queue`,
//! empty in a listener and so pointing at itself, still points into the listener. A place of the CPU keeps the listener
//! until `ESTABLISHED`, which follows in the same softirq.

use crate::{
    offset,
    sock::{Raw, Sock},
};
use aya_ebpf::{macros::map, maps::PerCpuArray};
use tracer_common::settings::ABSENT;

/// The last child born on a CPU.
#[repr(C)]
pub struct Birth {
    /// Address of its `struct sock`; 0 for none.
    child: u64,
    /// Inode of its listener.
    listener: u64,
}

/// The listener's child born last on a CPU.
#[map]
pub static BIRTHS: PerCpuArray<Birth> = PerCpuArray::with_max_entries(1, 0);

/// Notes the listener of `child` at `LISTEN → SYN_RECV`.
#[inline(always)]
pub fn born<S: Sock>(child: S) {
    let queue = offset!(tsorted_sent_queue);
    if queue == ABSENT || offset!(sk_socket) == ABSENT {
        return;
    }
    let Some(birth) = BIRTHS.get_ptr_mut(0) else { return };
    let (next, previous) = (child.u64(queue), child.u64(queue + 8));
    // SAFETY: this CPU's own place. In a softirq, which no other softirq interrupts.
    unsafe {
        // A value read back from memory is a number: the verifier forbids arithmetic on a pointer.
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

/// Returns the inode of the listener of the child at `sk`, which becomes `ESTABLISHED`; 0 if unknown.
#[inline(always)]
pub fn listener(sk: u64) -> u32 {
    let Some(birth) = BIRTHS.get_ptr_mut(0) else { return 0 };
    // SAFETY: this CPU's own place.
    unsafe {
        if (&raw const (*birth).child).read_volatile() != sk {
            return 0;
        }
        // The next socket at this address must not find it.
        (&raw mut (*birth).child).write_volatile(0);
        (&raw const (*birth).listener).read_volatile() as u32
    }
}
