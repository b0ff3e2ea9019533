//! Attributes a packet to its device, its socket and its direction, as far as the kernel has them.
//!
//! Never to the current task: in softirq that is the interrupted one.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use tracer_common::{
    drops::{Direction, DropRecord, PacketSocket, SOCKET_RECEIVES, SOCKET_REQUEST, SOCKET_TIME_WAIT, SOCKET_TUPLE},
    packet::Packet,
    record::Tuple,
    settings::ABSENT,
    tcp::TcpState,
};

use super::memory::FOLDS;
use super::memory::SCRATCH;
use crate::{
    filter, memory, offset,
    sock::{AF_INET, AF_INET6, Raw, Sock},
    sockets::SOCKETS,
};

/// The lowest inode number of a namespace (`PROC_DYNAMIC_FIRST`, and `PROC_*_INIT_INO` below it).
const FIRST_NAMESPACE: u32 = 0xe000_0000;

/// `RTN_UNICAST` of `include/uapi/linux/rtnetlink.h`: the packet is neither for this host nor from it.
const RTN_UNICAST: u8 = 1;
/// `RTF_LOCAL` and `RTF_ANYCAST` of `include/uapi/linux/ipv6_route.h`.
const RTF_OURS: u32 = 0x8010_0000;
/// `DST_METADATA` of `include/net/dst.h`: no route, but a tunnel's metadata for the packet.
const DST_METADATA: u16 = 0x20;
/// The bits of `skb->_skb_refdst` that are no address.
const REFDST_FLAGS: u64 = 7;

/// Flag in `place`: the packet was for this socket to receive.
pub const RECEIVES: u32 = 1 << 31;

/// Attributes the packet in this CPU's scratch and writes the result into the record at `place` of `FOLDS`: the device
/// `dev`, the socket `owner`, and the direction from `iif` (`skb_iif`) and `refdst` (`_skb_refdst`).
///
/// A global function, which the verifier checks once and by itself: inlined, it was verified again for each path
/// to it. It takes numbers, because kernels before 5.12 allow no pointers here (e5069b9c23b3).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn attribute_packet(place: u32, dev: u64, owner: u64, iif: u32, refdst: u64) -> u32 {
    let Some(scratch) = SCRATCH.get_ptr(0) else { return 0 };
    let Some(fold) = FOLDS.get_ptr_mut(place & !RECEIVES) else { return 0 };
    // SAFETY: this CPU's own places, in which our caller works.
    let (packet, record) = unsafe { (&(*scratch).packet, &mut (*fold).record) };
    let receives = place & RECEIVES != 0;
    device(record, dev);
    socket(&mut record.socket, owner, receives);
    if record.netns == 0 {
        record.netns = record.socket.tuple.netns;
    }
    record.direction = direction(packet, owner, receives, iif, refdst) as u8;
    0
}

/// Whether a packet at the device `dev`, of the socket `owner`, may belong to a network namespace that the user asks
/// for: the device's or the socket's namespace passes, or neither is known. They differ where a packet leaves by a
/// device in another namespace than its socket (macvlan, ipvlan).
///
/// A global function as [`attribute_packet`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn netns_of_packet_passes(dev: u64, owner: u64) -> u32 {
    let of_device = netns_of_device(dev);
    let of_socket = if owner == 0 { 0 } else { Raw(owner).netns() };
    let is_wanted = |netns| netns != 0 && filter::netns_passes(netns);
    u32::from(of_device | of_socket == 0 || is_wanted(of_device) || is_wanted(of_socket))
}

/// Whether the packet in this CPU's scratch, of the socket `owner`, may have ends that the user asks for. With a socket
/// the agent decides: address translation may have given the packet other ends than the socket has. The agent also
/// decides about packets that quote another packet (ICMP errors).
///
/// A global function as [`attribute_packet`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn packet_passes(owner: u64) -> u32 {
    let Some(scratch) = SCRATCH.get_ptr(0) else { return 1 };
    // SAFETY: this CPU's own place, in which our caller works.
    let packet = unsafe { &(*scratch).packet };
    u32::from(owner != 0 || packet.inner.family != 0 || filter::flow_passes(&packet.flow))
}

/// Returns the device's namespace, 0 if it is not known. `skb->dev` shares its place with other members while a packet
/// is queued (`dev_scratch`, `rbnode`): it is a device only if it leads to a namespace.
#[inline(always)]
fn netns_of_device(dev: u64) -> u32 {
    if dev == 0 {
        return 0;
    }
    let net: u64 = memory::read(dev, offset!(dev_net));
    let netns: u32 = memory::read(net, offset!(net_inum));
    if netns >= FIRST_NAMESPACE { netns } else { 0 }
}

/// Fills in interface and namespace.
#[inline(always)]
fn device(record: &mut DropRecord, dev: u64) {
    record.ifindex = 0;
    record.netns = netns_of_device(dev);
    record.iface = [0; 16];
    if record.netns != 0 {
        record.ifindex = memory::read(dev, offset!(dev_ifindex));
        if offset!(dev_name) != ABSENT {
            // SAFETY: the helper checks the address and writes sixteen bytes.
            unsafe {
                bpf_probe_read_kernel(
                    (&raw mut record.iface).cast(),
                    16,
                    (dev + u64::from(offset!(dev_name))) as *const core::ffi::c_void,
                );
            }
        }
    }
}

/// Fills in the socket at `sk`. Full, request and time-wait sockets are different structures: until the
/// kind is known, only members of `struct sock_common` may be read.
#[inline(always)]
fn socket(out: &mut PacketSocket, sk: u64, receives: bool) {
    *out = PacketSocket::NONE;
    if sk == 0 {
        return;
    }
    let sock = Raw(sk);
    out.family = sock.family();
    if receives {
        out.flags = SOCKET_RECEIVES;
    }
    if out.family != AF_INET && out.family != AF_INET6 {
        return;
    }
    out.state = sock.u8(offset!(skc_state));
    out.flags |= SOCKET_TUPLE;
    common_tuple(&mut out.tuple, sock);
    if out.state == TcpState::TimeWait as u8 {
        out.flags |= SOCKET_TIME_WAIT;
    } else if out.state == TcpState::NewSynRecv as u8 {
        out.flags |= SOCKET_REQUEST;
        followed(out, Raw(sock.u64(offset!(skc_listener))));
    } else {
        out.protocol = sock.u16(offset!(sk_protocol));
        // A socket in the middle of its close has its port in `inet_sport` only.
        if out.tuple.lport == 0 {
            out.tuple.lport = sock.lport();
        }
        followed(out, sock);
    }
}

/// Fills in the tuple, from `struct sock_common` alone.
#[inline(always)]
fn common_tuple(tuple: &mut Tuple, sock: Raw) {
    tuple.lport = sock.bound_port();
    tuple.rport = sock.rport();
    tuple.netns = sock.netns();
    tuple.ifindex = sock.u32(offset!(skc_bound_dev_if));
    if sock.family() == AF_INET6 {
        tuple.family = 6;
        tuple.laddr = sock.words(offset!(skc_v6_rcv_saddr));
        tuple.raddr = sock.words(offset!(skc_v6_daddr));
    } else {
        tuple.family = 4;
        tuple.laddr = [sock.u32(offset!(skc_rcv_saddr)), 0, 0, 0];
        tuple.raddr = [sock.u32(offset!(skc_daddr)), 0, 0, 0];
    }
}

/// Fills in what the lifecycle hooks know about a full socket.
#[inline(always)]
fn followed(out: &mut PacketSocket, sock: Raw) {
    let socket = sock.u64(offset!(sk_socket));
    out.inode = memory::read(socket, offset!(socket_inode));
    if let Some(known) = SOCKETS.get_ptr(sock.0) {
        // SAFETY: a live map value. We do not lock its socket: user space finds a number and an opener
        // that do not belong together by the process's start.
        let known = unsafe { &*known };
        out.id = known.id;
        out.followed = known.flags;
        out.opener = known.opener;
    }
}

/// Returns the packet's direction.
#[inline(always)]
fn direction(packet: &Packet, owner: u64, receives: bool, iif: u32, refdst: u64) -> Direction {
    if offset!(skb_iif) == ABSENT {
        return Direction::Unknown;
    }
    // Set where a packet enters the protocols; cleared where it leaves for another namespace.
    if iif == 0 {
        return if receives {
            Direction::In
        } else if owner != 0 {
            Direction::Out
        } else {
            Direction::Unknown
        };
    }
    if owner == 0 && is_routed_on(packet, refdst) { Direction::Forward } else { Direction::In }
}

/// Whether the packet's route leads away from this host.
#[inline(always)]
fn is_routed_on(packet: &Packet, refdst: u64) -> bool {
    let dst = refdst & !REFDST_FLAGS;
    if dst == 0 || memory::read::<u16>(dst, offset!(dst_flags)) & DST_METADATA != 0 {
        return false;
    }
    match packet.flow.family {
        4 => memory::read::<u8>(dst, offset!(rt_type)) == RTN_UNICAST,
        6 => {
            let multicast = u32::from_be(packet.flow.dst[0]) >> 24 == 0xff;
            offset!(rt6_flags) != ABSENT && !multicast && memory::read::<u32>(dst, offset!(rt6_flags)) & RTF_OURS == 0
        }
        _ => false,
    }
}
