//! Retransmitted segments and resets.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use tracer_common::{
    audit::Outcome,
    counter::Counter,
    drops::{
        NO_REASON, SEGMENT_DATA, SEGMENT_PROBE, SEGMENT_RECEIVED, SEGMENT_SEQ, SOCKET_REQUEST, SOCKET_TIME_WAIT,
        SegmentRecord, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN,
    },
    record::{FLAG_FILTERED, RecordKind, Tuple},
    settings::ABSENT,
    tcp::TcpState,
};

use super::{now, ring, skb::RawSkb, skb::Skb};
use crate::{
    counter::count,
    emit, filter, memory, offset,
    sock::{AF_INET, AF_INET6, Common, Raw, Sock},
    sockets::SOCKETS,
    started::started,
};

/// `TCP_CA_Recovery`: from this state on TCP takes something for lost.
const TCP_CA_RECOVERY: u32 = 3;

const NOTHING: SegmentRecord = SegmentRecord {
    header: emit::header(RecordKind::Reset, 0),
    id: 0,
    inode: 0,
    tuple: Tuple {
        laddr: [0; 4],
        raddr: [0; 4],
        lport: 0,
        rport: 0,
        family: 0,
        reserved: [0; 3],
        netns: 0,
        ifindex: 0,
    },
    seq: 0,
    reason: NO_REASON,
    state: 0,
    tcp_flags: 0,
    flags: 0,
    socket_flags: 0,
    followed: 0,
    reserved: [0; 2],
};

#[inline(always)]
fn send(mut record: SegmentRecord, kind: RecordKind) -> Outcome {
    if record.followed & FLAG_FILTERED != 0 || !filter::ends_pass(&record.tuple) {
        count(Counter::Filtered);
        return Outcome::Filtered;
    }
    record.header = emit::header(kind, now());
    if ring::output(&record) {
        count(Counter::SentSegment);
        Outcome::Told
    } else {
        count(Counter::LostSegment);
        Outcome::Lost
    }
}

/// Fills in the socket's fields; returns whether it is an IPv4 or IPv6 socket.
#[inline(always)]
fn describe(record: &mut SegmentRecord, sk: u64) -> bool {
    let sock = Raw(sk);
    let common = Common::of(sk);
    let family = common.family();
    if sk == 0 || (family != AF_INET && family != AF_INET6) {
        return false;
    }
    record.state = common.state();
    record.tuple = common.tuple();
    let full = if record.state == TcpState::TimeWait as u8 {
        record.socket_flags = SOCKET_TIME_WAIT;
        return true;
    } else if record.state == TcpState::NewSynRecv as u8 {
        record.socket_flags = SOCKET_REQUEST;
        Raw(sock.u64(offset!(skc_listener)))
    } else {
        if record.tuple.lport == 0 {
            record.tuple.lport = sock.lport();
        }
        sock
    };
    record.inode = memory::read(full.u64(offset!(sk_socket)), offset!(socket_inode));
    if let Some(known) = SOCKETS.get_ptr(full.0) {
        // SAFETY: a live map value.
        let known = unsafe { &*known };
        record.id = known.id;
        record.followed = known.flags;
    }
    true
}

/// Handles `tcp_retransmit_skb`.
#[inline(always)]
pub fn retransmitted(sk: u64, skb: RawSkb) -> Outcome {
    let mut record = NOTHING;
    if !started() || !describe(&mut record, sk) {
        return Outcome::Aside;
    }
    if offset!(skb_tcp_flags) != ABSENT {
        record.seq = skb.u32(offset!(skb_tcp_seq));
        record.tcp_flags = skb.u8(offset!(skb_tcp_flags));
        record.flags |= SEGMENT_SEQ;
        let used = u32::from(record.tcp_flags & TCP_FIN != 0) + u32::from(record.tcp_flags & TCP_SYN != 0);
        if skb.u32(offset!(skb_tcp_end_seq)).wrapping_sub(record.seq) > used {
            record.flags |= SEGMENT_DATA;
        }
    }
    if offset!(icsk_ca_state) != ABSENT {
        let mask = offset!(icsk_ca_state_mask);
        let state = u32::from(Raw(sk).u8(offset!(icsk_ca_state))) & mask;
        // The mask may begin at a higher bit: compare at that bit.
        let recovery = TCP_CA_RECOVERY * (mask & mask.wrapping_neg());
        if state < recovery {
            record.flags |= SEGMENT_PROBE;
        }
    }
    send(record, RecordKind::Retransmit)
}

/// Handles `tcp_retransmit_synack`.
#[inline(always)]
pub fn synack_retransmitted(request: u64) -> Outcome {
    let mut record = NOTHING;
    if !started() || !describe(&mut record, request) {
        return Outcome::Aside;
    }
    record.tcp_flags = TCP_SYN | TCP_ACK;
    if offset!(request_isn) != ABSENT {
        record.seq = memory::read(request, offset!(request_isn));
        record.flags |= SEGMENT_SEQ;
    }
    send(record, RecordKind::Retransmit)
}

/// Handles `tcp_receive_reset`.
#[inline(always)]
pub fn reset_received(sk: u64) -> Outcome {
    let mut record = NOTHING;
    if !started() || !describe(&mut record, sk) {
        return Outcome::Aside;
    }
    record.tcp_flags = TCP_RST;
    record.flags = SEGMENT_RECEIVED;
    send(record, RecordKind::Reset)
}

/// Handles `tcp_send_reset`: by a socket, or in answer to the segment `skb`. That segment found no socket, or it came
/// to a listener and belongs to no connection that this host (still) knows.
#[inline(always)]
pub fn reset_sent(sk: u64, skb: RawSkb, reason: u32) -> Outcome {
    let mut record = NOTHING;
    if !started() {
        return Outcome::Aside;
    }
    let known = describe(&mut record, sk);
    if !known || record.state == TcpState::Listen as u8 {
        let netns = record.tuple.netns;
        if !answer(&mut record, skb) && !known {
            return Outcome::Aside;
        }
        if netns != 0 {
            record.tuple.netns = netns;
        }
    }
    record.tcp_flags = TCP_RST;
    record.reason = reason;
    send(record, RecordKind::Reset)
}

/// Handles `tcp_v4_send_reset` and `tcp_v6_send_reset` of kernels whose tracepoint reports full sockets
/// only.
#[inline(always)]
pub fn reset_sent_for_nobody(sk: u64, skb: RawSkb) -> Outcome {
    let state = Raw(sk).u8(offset!(skc_state));
    let full = sk != 0 && state != TcpState::TimeWait as u8 && state != TcpState::NewSynRecv as u8;
    // The tracepoint has reported it.
    if full {
        return Outcome::Aside;
    }
    let mut record = NOTHING;
    if !started() || !answer(&mut record, skb) || record.tcp_flags & TCP_RST != 0 {
        return Outcome::Aside;
    }
    if sk != 0 {
        describe(&mut record, sk);
    }
    record.tcp_flags = TCP_RST;
    send(record, RecordKind::Reset)
}

/// The first 16 bytes of a TCP header.
type TcpHeader = [u32; 4];

/// Fills in the ends of the answer to a segment: the segment's own, swapped. Returns whether the segment is readable.
#[inline(always)]
fn answer(record: &mut SegmentRecord, skb: RawSkb) -> bool {
    let head = skb.u64(offset!(skb_head));
    if skb.0 == 0 || head == 0 || offset!(skb_transport_header) == ABSENT {
        return false;
    }
    let network = head + u64::from(skb.u16(offset!(skb_network_header)));
    let transport = head + u64::from(skb.u16(offset!(skb_transport_header)));
    let mut tcp: TcpHeader = [0; 4];
    let mut ip: [u32; 10] = [0; 10];
    // SAFETY: the helper checks the addresses and writes as many bytes as the arrays have.
    unsafe {
        bpf_probe_read_kernel((&raw mut tcp).cast(), 16, transport as *const core::ffi::c_void);
        bpf_probe_read_kernel((&raw mut ip).cast(), 40, network as *const core::ffi::c_void);
    }
    if u32::from_be(ip[0]) >> 28 == 6 {
        record.tuple.family = 6;
        record.tuple.raddr = [ip[2], ip[3], ip[4], ip[5]];
        record.tuple.laddr = [ip[6], ip[7], ip[8], ip[9]];
    } else {
        record.tuple.family = 4;
        record.tuple.raddr = [ip[3], 0, 0, 0];
        record.tuple.laddr = [ip[4], 0, 0, 0];
    }
    let ports = u32::from_be(tcp[0]);
    record.tuple.rport = (ports >> 16) as u16;
    record.tuple.lport = ports as u16;
    record.tcp_flags = (u32::from_be(tcp[3]) >> 16) as u8;
    let dev = skb.u64(offset!(skb_dev));
    let net: u64 = memory::read(dev, offset!(dev_net));
    record.tuple.netns = memory::read(net, offset!(net_inum));
    true
}
