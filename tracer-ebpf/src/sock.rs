//! A `struct sock`, read directly (BTF tracepoints) or by address (every other program type).

use aya_ebpf::helpers::generated::bpf_skc_to_tcp_sock;
use tracer_common::{record::Tuple, settings::ABSENT};

use crate::{
    lane::Lane,
    memory::{self, Window},
    offset,
};

pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;
pub const IPPROTO_TCP: u16 = 6;

/// A TCP socket. Every offset counts from the start of `struct sock`, which is the start of
/// `struct tcp_sock`; a field that this kernel lacks reads as zero.
pub trait Sock: Copy {
    /// Returns the address: the key of `SOCKETS`.
    fn address(self) -> u64;
    fn u8(self, offset: u32) -> u8;
    fn u16(self, offset: u32) -> u16;
    fn u32(self, offset: u32) -> u32;
    fn u64(self, offset: u32) -> u64;
    /// Returns the four words of an address.
    fn words(self, offset: u32) -> [u32; 4];
    /// Returns `sock_net(sk)->ns.inum`.
    fn netns(self) -> u32;

    /// Returns the program that works on the socket.
    #[inline(always)]
    fn lane(self) -> Lane {
        Lane::First
    }

    /// 2 or 10.
    #[inline(always)]
    fn family(self) -> u16 {
        self.u16(offset!(skc_family))
    }

    /// Returns the remote port, host order.
    #[inline(always)]
    fn rport(self) -> u16 {
        u16::from_be(self.u16(offset!(skc_dport)))
    }

    /// Returns the local port, host order. From `inet_sport`, not `skc_num`: the kernel clears the latter
    /// before it traces the transition to `CLOSE` (`inet_put_port` comes first in `tcp_set_state`).
    #[inline(always)]
    fn lport(self) -> u16 {
        if offset!(inet_sport) == ABSENT {
            return self.u16(offset!(skc_num));
        }
        u16::from_be(self.u16(offset!(inet_sport)))
    }

    /// Returns the port bound now, 0 for none: after an earlier connection a socket still has its old
    /// port in `inet_sport`.
    #[inline(always)]
    fn bound_port(self) -> u16 {
        self.u16(offset!(skc_num))
    }

    /// Returns everything that identifies the connection.
    #[inline(always)]
    fn tuple(self) -> Tuple {
        let mut tuple = Tuple {
            laddr: [0; 4],
            raddr: [0; 4],
            lport: self.lport(),
            rport: self.rport(),
            family: 4,
            reserved: [0; 3],
            netns: self.netns(),
            ifindex: self.u32(offset!(skc_bound_dev_if)),
        };
        if offset!(skc_family) == ABSENT {
            tuple.family = 0;
        } else if self.family() == AF_INET6 {
            tuple.family = 6;
            tuple.laddr = self.words(offset!(skc_v6_rcv_saddr));
            tuple.raddr = self.words(offset!(skc_v6_daddr));
        } else {
            tuple.laddr = [self.u32(offset!(skc_rcv_saddr)), 0, 0, 0];
            tuple.raddr = [self.u32(offset!(skc_daddr)), 0, 0, 0];
        }
        tuple
    }

    /// Whether the socket is a subflow of an MPTCP connection.
    #[inline(always)]
    fn is_mptcp(self) -> bool {
        offset!(is_mptcp) != ABSENT && u32::from(self.u8(offset!(is_mptcp))) & offset!(is_mptcp_mask) != 0
    }
}

/// A `struct tcp_sock` that the verifier knows: plain loads, no helper call.
#[derive(Clone, Copy)]
pub struct Trusted {
    tp: *const u8,
    lane: Lane,
}

impl Trusted {
    /// Returns the socket behind a tracepoint's argument, if it is a full TCP socket.
    ///
    /// # Safety
    /// `sk` is an argument of a BTF tracepoint, of type `struct sock *`.
    #[inline(always)]
    pub unsafe fn new(sk: *mut core::ffi::c_void, lane: Lane) -> Option<Self> {
        // SAFETY: by the caller's promise. The conversion also makes the fields past `struct sock`
        // reachable: for a load through `sk` the verifier says "access beyond struct sock".
        let tp = unsafe { bpf_skc_to_tcp_sock(sk) };
        if tp.is_null() { None } else { Some(Self { tp: tp.cast::<u8>(), lane }) }
    }

    #[inline(always)]
    fn load<T: Copy>(self, offset: u32, absent: T) -> T {
        if offset == ABSENT {
            return absent;
        }
        // SAFETY: the verifier checks `offset` against the type and the kernel handles a fault.
        // Volatile, so that loads keep their size: the verifier refuses one across two fields.
        unsafe { core::ptr::read_volatile(self.tp.add(offset as usize).cast::<T>()) }
    }
}

impl Sock for Trusted {
    #[inline(always)]
    fn address(self) -> u64 {
        self.tp as u64
    }
    #[inline(always)]
    fn lane(self) -> Lane {
        self.lane
    }
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
    fn words(self, offset: u32) -> [u32; 4] {
        if offset == ABSENT {
            return [0; 4];
        }
        [self.load(offset, 0), self.load(offset + 4, 0), self.load(offset + 8, 0), self.load(offset + 12, 0)]
    }
    #[inline(always)]
    fn netns(self) -> u32 {
        if offset!(skc_net) == ABSENT || offset!(net_inum) == ABSENT {
            return 0;
        }
        // SAFETY: `skc_net` is a `struct net *` to the verifier, never null in a live socket.
        unsafe {
            let net = core::ptr::read_volatile(self.tp.add(offset!(skc_net) as usize).cast::<*const u8>());
            core::ptr::read_volatile(net.add(offset!(net_inum) as usize).cast::<u32>())
        }
    }
}

/// A `struct sock` by its address.
#[derive(Clone, Copy)]
pub struct Raw(pub u64);

impl Raw {
    /// Returns the socket at `sk`, if it is a TCP socket.
    #[inline(always)]
    pub fn tcp(sk: u64) -> Option<Self> {
        let sock = Self(sk);
        let family = sock.family();
        if sk == 0 || (family != AF_INET && family != AF_INET6) || sock.u16(offset!(sk_protocol)) != IPPROTO_TCP {
            return None;
        }
        Some(sock)
    }
}

impl Sock for Raw {
    #[inline(always)]
    fn address(self) -> u64 {
        self.0
    }
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
    fn words(self, offset: u32) -> [u32; 4] {
        memory::read(self.0, offset)
    }
    #[inline(always)]
    fn netns(self) -> u32 {
        let net: u64 = memory::read(self.0, offset!(skc_net));
        memory::read(net, offset!(net_inum))
    }
    #[inline(always)]
    fn tuple(self) -> Tuple {
        let mut tuple = Common::of(self.0).tuple();
        // A bound port is also in `inet_sport`, and only that field keeps it afterwards.
        if tuple.lport == 0 {
            tuple.lport = self.lport();
        }
        tuple
    }
}

/// A `struct sock_common`, the beginning of all kinds of sockets, read at once.
#[derive(Clone, Copy)]
pub struct Common(Window<12>);

impl Common {
    /// Reads the `struct sock_common` at `sk`.
    #[inline(always)]
    pub fn of(sk: u64) -> Self {
        Self(Window::read(sk))
    }

    /// 2 or 10.
    #[inline(always)]
    pub fn family(&self) -> u16 {
        self.0.get(offset!(skc_family))
    }

    #[inline(always)]
    pub fn state(&self) -> u8 {
        self.0.get(offset!(skc_state))
    }

    /// Returns the tuple, with the local port bound now.
    #[inline(always)]
    pub fn tuple(&self) -> Tuple {
        let mut tuple = Tuple {
            laddr: [0; 4],
            raddr: [0; 4],
            lport: self.0.get(offset!(skc_num)),
            rport: u16::from_be(self.0.get(offset!(skc_dport))),
            family: 4,
            reserved: [0; 3],
            netns: memory::read(self.0.get(offset!(skc_net)), offset!(net_inum)),
            ifindex: self.0.get(offset!(skc_bound_dev_if)),
        };
        if offset!(skc_family) == ABSENT {
            // accept() by a kretprobe, without types: the fields known before stay.
            tuple.family = 0;
        } else if self.family() == AF_INET6 {
            tuple.family = 6;
            tuple.laddr = self.0.get(offset!(skc_v6_rcv_saddr));
            tuple.raddr = self.0.get(offset!(skc_v6_daddr));
        } else {
            tuple.laddr = [self.0.get(offset!(skc_rcv_saddr)), 0, 0, 0];
            tuple.raddr = [self.0.get(offset!(skc_daddr)), 0, 0, 0];
        }
        tuple
    }
}
