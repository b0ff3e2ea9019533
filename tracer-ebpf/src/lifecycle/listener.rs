//! Flags of a socket that begins to listen.

use tracer_common::{
    record::{FLAG_KERNEL, FLAG_TAKES_V4, FLAG_V6ONLY},
    settings::ABSENT,
};

use crate::{
    memory, offset,
    sock::{AF_INET6, Sock},
};

/// Returns the `FLAG_*` of a listener: IPv4 or not, the kernel's own or not.
#[inline(always)]
pub fn flags<S: Sock>(sock: S) -> u16 {
    let mut flags = 0;
    if offset!(skc_ipv6only) != ABSENT && sock.family() == AF_INET6 {
        let v6only = u32::from(sock.u8(offset!(skc_ipv6only))) & offset!(skc_ipv6only_mask) != 0;
        flags |= if v6only { FLAG_V6ONLY } else { FLAG_TAKES_V4 };
    }
    // Each MPTCP subflow is a kernel socket. Its MPTCP socket is one too if no process made it: an endpoint with a
    // port listens in the context of `ip mptcp endpoint add`. The check of `sk_kern_sock` is for MPTCP alone: an SMC
    // socket, which belongs to a process, stands on a TCP socket of the kernel.
    if offset!(sk_kern_sock) != ABSENT && offset!(subflow_conn) != ABSENT && sock.is_mptcp() {
        let connection: u64 = memory::read(sock.u64(offset!(icsk_ulp_data)), offset!(subflow_conn));
        let kernel: u8 = memory::read(connection, offset!(sk_kern_sock));
        if u32::from(kernel) & offset!(sk_kern_sock_mask) != 0 {
            flags |= FLAG_KERNEL;
        }
    }
    flags
}
