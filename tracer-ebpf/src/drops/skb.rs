//! A `struct sk_buff`, read directly (BTF tracepoints) or by address (every other program type).

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use tracer_common::{
    packet::{self, WINDOW_BYTES, Window},
    settings::ABSENT,
};

use super::Scratch;
use crate::{memory, offset};

/// The high bits that every kernel address has set, on every architecture that we know. A value that
/// shares its place with a pointer (UDP's `dev_scratch`) does not have them.
const KERNEL: u64 = 0xffff << 48;

/// `transport_header` before it is set.
const UNSET: u16 = u16::MAX;

/// A packet buffer. A field that this kernel lacks reads as zero.
pub trait Skb: Copy {
    fn u8(self, offset: u32) -> u8;
    fn u16(self, offset: u32) -> u16;
    fn u32(self, offset: u32) -> u32;
    fn u64(self, offset: u32) -> u64;
    /// Returns a pointer to a structure as a number; the caller has to have it [`checked`].
    fn pointer(self, offset: u32, scratch: &mut Scratch) -> u64;

    /// Copies the packet's first bytes and parses them. Leaves `family` 0 if there is no IP header
    /// (yet).
    #[inline(always)]
    fn read_packet(self, scratch: &mut Scratch) {
        let head = self.u64(offset!(skb_head));
        let tail = self.u32(offset!(skb_tail));
        let network = u32::from(self.u16(offset!(skb_network_header)));
        let have = copy(head, network, tail, &mut scratch.window);
        let ethertype = u16::from_be(self.u16(offset!(skb_protocol)));
        packet::parse(&mut scratch.window, have, ethertype, &mut scratch.packet);
    }

    /// As [`Skb::read_packet`], for a packet that has only its TCP header: it found no route.
    #[inline(always)]
    fn read_tcp(self, scratch: &mut Scratch) {
        let transport = self.u16(offset!(skb_transport_header));
        if transport == UNSET || offset!(skb_transport_header) == ABSENT {
            return;
        }
        let head = self.u64(offset!(skb_head));
        let have = copy(head, u32::from(transport), self.u32(offset!(skb_tail)), &mut scratch.window);
        packet::parse_tcp(&mut scratch.window, have, &mut scratch.packet);
    }

    /// Returns the bytes from the network header on, wherever `data` points to now; without `ip`, `skb->len`.
    #[inline(always)]
    fn length(self, ip: bool) -> u32 {
        let len = self.u32(offset!(skb_len));
        if !ip {
            return len;
        }
        let data = self.u64(offset!(skb_data)).wrapping_sub(self.u64(offset!(skb_head))) as u32;
        len.wrapping_add(data).wrapping_sub(u32::from(self.u16(offset!(skb_network_header))))
    }
}

/// Copies the bytes between `from` and `tail`; returns the number of valid bytes.
#[inline(always)]
fn copy(head: u64, from: u32, tail: u32, window: &mut Window) -> u32 {
    if head == 0 || tail <= from {
        return 0;
    }
    // Always the whole window: the verifier knows that length, and the bytes behind the tail still
    // belong to the buffer (`struct skb_shared_info`). The parser does not look at them.
    // SAFETY: the helper checks the address and writes `WINDOW_BYTES` bytes, which the window has.
    let failed = unsafe {
        bpf_probe_read_kernel(
            (&raw mut window.words).cast(),
            WINDOW_BYTES as u32,
            head.wrapping_add(u64::from(from)) as *const core::ffi::c_void,
        )
    };
    let have = tail - from;
    if failed != 0 {
        0
    } else if have > WINDOW_BYTES as u32 {
        WINDOW_BYTES as u32
    } else {
        have
    }
}

/// Returns the address if it is a kernel address, else 0.
#[inline(always)]
pub fn checked(address: u64) -> u64 {
    if address & KERNEL == KERNEL { address } else { 0 }
}

/// Turns a pointer into a number by way of a map: the verifier refuses arithmetic on pointers ("pointer
/// arithmetic prohibited", "trusted_ptr_or_null"), and a value loaded from a map is a plain number.
#[inline(always)]
pub fn number(pointer: u64, scratch: &mut Scratch) -> u64 {
    // SAFETY: this CPU's own place.
    unsafe {
        core::ptr::write_volatile(&raw mut scratch.pointer, pointer);
        core::ptr::read_volatile(&raw const scratch.pointer)
    }
}

/// A `struct sk_buff` that the verifier knows: plain loads, no helper call.
#[derive(Clone, Copy)]
pub struct TrustedSkb(pub *const u8);

impl TrustedSkb {
    #[inline(always)]
    fn load<T: Copy>(self, offset: u32, absent: T) -> T {
        if offset == ABSENT {
            return absent;
        }
        // SAFETY: the verifier checks `offset` against the type and the kernel handles a fault.
        // Volatile, so that loads keep their size: the verifier refuses one across two fields.
        unsafe { core::ptr::read_volatile(self.0.add(offset as usize).cast::<T>()) }
    }
}

impl Skb for TrustedSkb {
    #[inline(always)]
    fn u8(self, offset: u32) -> u8 {
        self.load(offset, 0)
    }
    #[inline(always)]
    fn u16(self, offset: u32) -> u16 {
        self.load(offset, 0)
    }
    #[inline(always)]
    fn u32(self, offset: u32) -> u32 {
        self.load(offset, 0)
    }
    #[inline(always)]
    fn u64(self, offset: u32) -> u64 {
        self.load(offset, 0)
    }
    #[inline(always)]
    fn pointer(self, offset: u32, scratch: &mut Scratch) -> u64 {
        number(self.load(offset, 0), scratch)
    }
}

/// A `struct sk_buff` by its address.
#[derive(Clone, Copy)]
pub struct RawSkb(pub u64);

impl Skb for RawSkb {
    #[inline(always)]
    fn u8(self, offset: u32) -> u8 {
        memory::read(self.0, offset)
    }
    #[inline(always)]
    fn u16(self, offset: u32) -> u16 {
        memory::read(self.0, offset)
    }
    #[inline(always)]
    fn u32(self, offset: u32) -> u32 {
        memory::read(self.0, offset)
    }
    #[inline(always)]
    fn u64(self, offset: u32) -> u64 {
        memory::read(self.0, offset)
    }
    #[inline(always)]
    fn pointer(self, offset: u32, _: &mut Scratch) -> u64 {
        memory::read(self.0, offset)
    }
}
