//! `iter/tcp`: every TCP socket of a network namespace, request and TIME_WAIT sockets too.
//!
//! The numbers match those of `tcp_diag_get_info`, so that both sources agree.

use aya_ebpf::helpers::generated::bpf_skc_to_tcp_timewait_sock;
use tracer_common::iterator::TcpRecord;

use super::{Meta, Record};
use crate::{
    lane::Lane,
    memory, offset,
    sock::{AF_INET6, Sock, Trusted},
    store,
};

const TIME_WAIT: u8 = 6;
const LISTEN: u8 = 10;

#[repr(C)]
pub struct Context {
    meta: *const Meta,
    sk: *mut core::ffi::c_void,
    uid: u32,
}

/// Reads a field of `struct sock_common`, the beginning of all kinds of sockets.
#[inline(always)]
fn common<T: Copy>(sk: *mut core::ffi::c_void, offset: u32) -> T {
    // SAFETY: not null; the verifier checks the offset against `struct sock_common`.
    unsafe { core::ptr::read_volatile(sk.cast::<u8>().add(offset as usize).cast::<T>()) }
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
pub unsafe extern "C" fn iter_tcp(ctx: *const Context) -> i32 {
    // SAFETY: the kernel's context; the socket is null at the end.
    let (meta, sk, uid) = unsafe { ((*ctx).meta, (*ctx).sk, (*ctx).uid) };
    if sk.is_null() {
        return 0;
    }
    let family: u16 = common(sk, offset!(skc_family));
    let mut record = Record::<TcpRecord>::new();
    let place = record.place();
    let state: u8 = common(sk, offset!(skc_state));
    store!(place, ifindex, common(sk, offset!(skc_bound_dev_if)));
    store!(place, uid, uid);
    store!(place, lport, common(sk, offset!(skc_num)));
    store!(place, rport, u16::from_be(common(sk, offset!(skc_dport))));
    let is_v6 = family == AF_INET6;
    store!(place, family, if is_v6 { 6 } else { 4 });
    // SAFETY: all three are in the record.
    let (laddr, raddr, reserved) =
        unsafe { (&raw mut (*place).laddr, &raw mut (*place).raddr, &raw mut (*place).reserved) };
    // SAFETY: two bytes.
    unsafe { core::ptr::write_volatile(reserved.cast::<u16>(), 0) };
    if is_v6 {
        words(laddr, sk, offset!(skc_v6_rcv_saddr));
        words(raddr, sk, offset!(skc_v6_daddr));
    } else {
        word(laddr, sk, offset!(skc_rcv_saddr));
        word(raddr, sk, offset!(skc_daddr));
    }
    let full = Full::of(sk, state);
    store!(place, state, full.state);
    store!(place, inode, full.inode);
    store!(place, recv_q, full.recv_q);
    store!(place, send_q, full.send_q);
    // SAFETY: every field is stored; the first member of the context.
    unsafe { record.write((*meta).seq) };
    0
}

/// Stores four words of an address.
#[inline(always)]
fn words(to: *mut [u32; 4], sk: *mut core::ffi::c_void, offset: u32) {
    for index in 0..4 {
        // SAFETY: four words are there.
        unsafe { core::ptr::write_volatile(to.cast::<u32>().add(index), common(sk, offset + 4 * index as u32)) };
    }
}

/// Stores one word of an address, and three zeros.
#[inline(always)]
fn word(to: *mut [u32; 4], sk: *mut core::ffi::c_void, offset: u32) {
    for index in 0..4 {
        let value = if index == 0 { common(sk, offset) } else { 0 };
        // SAFETY: four words are there.
        unsafe { core::ptr::write_volatile(to.cast::<u32>().add(index), value) };
    }
}

/// The fields of a full socket; request and TIME_WAIT sockets have none of them but the state.
struct Full {
    state: u8,
    inode: u64,
    recv_q: u32,
    send_q: u32,
}

impl Full {
    #[inline(always)]
    fn of(sk: *mut core::ffi::c_void, state: u8) -> Self {
        let mut full = Self { state, inode: 0, recv_q: 0, send_q: 0 };
        if state == TIME_WAIT {
            // SAFETY: not null.
            let tw = unsafe { bpf_skc_to_tcp_timewait_sock(sk) };
            if !tw.is_null() {
                // A TIME_WAIT socket may also stand for FIN_WAIT2.
                // SAFETY: not null; the verifier checks the offset.
                full.state = unsafe { core::ptr::read_volatile(tw.cast::<u8>().add(offset!(tw_substate) as usize)) };
            }
            return full;
        }
        // SAFETY: not null.
        let Some(sock) = (unsafe { Trusted::new(sk, Lane::First) }) else { return full };
        // By address: the inode lies behind `struct socket`, where the verifier allows no direct load. It
        // allows `socket->file->f_inode`, but that is slower by half: two more lines that are in no
        // cache.
        full.inode = memory::read(sock.u64(offset!(sk_socket)), offset!(socket_inode));
        if state == LISTEN {
            full.recv_q = sock.u32(offset!(sk_ack_backlog));
            full.send_q = sock.u32(offset!(sk_max_ack_backlog));
        } else {
            // A FIN counts both as received and as read.
            let unread = sock.u32(offset!(rcv_nxt)).wrapping_sub(sock.u32(offset!(copied_seq)));
            full.recv_q = if unread.cast_signed() < 0 { 0 } else { unread };
            full.send_q = sock.u32(offset!(write_seq)).wrapping_sub(sock.u32(offset!(snd_una)));
        }
        full
    }
}
