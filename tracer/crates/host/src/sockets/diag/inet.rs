//! inet_diag (`include/uapi/linux/inet_diag.h`): TCP, UDP, UDP-Lite, raw.

use super::{cookie_at, words_at};
use crate::sockets::proto::{Proto, State};
use crate::sockets::row::{Inet, Kind, Row, Tcp, Timer};
use tracer_tables::netlink::attribute::{Attributes, be16_at, u8_at, u32_at, u64_at};

/// `struct inet_diag_msg`
const MESSAGE: usize = 72;
/// `INET_DIAG_INFO`, `INET_DIAG_CONG`, `INET_DIAG_CGROUP_ID`
const INFO: u16 = 2;
const CONG: u16 = 4;
const CGROUP_ID: u16 = 21;
/// `INET_DIAG_SKV6ONLY`, for IPv6 sockets that listen or are not connected.
const SKV6ONLY: u16 = 11;
/// Every state but `BOUND_INACTIVE`, which /proc and `ss` do not show either.
pub(super) const STATES: u32 = 0x1fff;
/// Every one of these but `TIME_WAIT`.
pub(super) const LIVE: u32 = STATES & !(1 << 6);
/// `LISTEN` alone.
pub(super) const LISTEN: u32 = 1 << 10;
/// The value of `tcpi_snd_ssthresh` without a threshold (`TCP_INFINITE_SSTHRESH`).
const INFINITE_SSTHRESH: u32 = 0x7fff_ffff;

/// Returns sock_diag's number of a protocol; `None` if inet_diag does not handle it.
pub(super) const fn protocol(proto: Proto) -> Option<u8> {
    match proto {
        Proto::Tcp => Some(6),
        Proto::Udp => Some(17),
        Proto::Udplite => Some(136),
        Proto::Raw => Some(255),
        _ => None,
    }
}

/// Builds a `struct inet_diag_req_v2`; `states` has a bit for each wanted state.
pub(super) fn request(family: i32, protocol: u8, states: u32, details: bool) -> [u8; 56] {
    let mut bytes = [0; 56];
    bytes[0] = family as u8;
    bytes[1] = protocol;
    bytes[2] = extensions(details);
    bytes[4..8].copy_from_slice(&states.to_ne_bytes());
    bytes
}

/// Builds a `struct inet_diag_req`, which is older and names no protocol.
pub(super) fn old_request(states: u32, details: bool) -> [u8; 60] {
    let mut bytes = [0; 60];
    bytes[3] = extensions(details);
    bytes[52..56].copy_from_slice(&states.to_ne_bytes());
    bytes
}

/// Returns the bits of the requested attributes.
const fn extensions(details: bool) -> u8 {
    if details { 1 << (INFO - 1) | 1 << (CONG - 1) } else { 0 }
}

/// Parses a `struct inet_diag_msg` with its attributes.
pub(super) fn parse(bytes: &[u8], proto: Proto) -> Option<Row> {
    let attributes = Attributes::of(bytes.get(MESSAGE..)?);
    let family = match i32::from(u8_at(bytes, 0)?) {
        libc::AF_INET => 4,
        libc::AF_INET6 => 6,
        _ => return None,
    };
    let state = State::of_sk_state(proto, u8_at(bytes, 1)?);
    let uid = u32_at(bytes, 64)?;
    let inode = u64::from(u32_at(bytes, 68)?);
    let mut inet = Inet {
        family,
        lport: be16_at(bytes, 4)?,
        rport: be16_at(bytes, 6)?,
        laddr: words_at(bytes, 8)?,
        raddr: words_at(bytes, 24)?,
        ifindex: u32_at(bytes, 40)?,
        v6only: None,
        tcp: None,
    };
    if family == 4 {
        // The bytes behind an IPv4 address are undefined.
        (inet.laddr, inet.raddr) = ([inet.laddr[0], 0, 0, 0], [inet.raddr[0], 0, 0, 0]);
    }
    if family == 6 && matches!(state, State::Listen | State::Unconn | State::Close) {
        let v6only = Attributes::of(bytes.get(MESSAGE..)?).find(|(kind, _)| *kind == SKV6ONLY);
        inet.v6only = v6only.and_then(|(_, value)| u8_at(value, 0)).map(|flag| flag != 0);
    }
    if proto == Proto::Tcp {
        inet.tcp = tcp(bytes, attributes, state).map(Box::new);
    }
    Some(Row {
        proto,
        state,
        netns: 0,
        inode,
        cookie: cookie_at(bytes, 44),
        // A TIME_WAIT socket has no user; 0 would be root.
        uid: (state != State::TimeWait).then_some(uid),
        recv_q: u32_at(bytes, 56)?,
        send_q: u32_at(bytes, 60)?,
        kind: Kind::Inet(inet),
    })
}

/// Parses the details; `None` without `INFO` and `CONG`.
fn tcp(bytes: &[u8], attributes: Attributes<'_>, state: State) -> Option<Tcp> {
    let mut tcp = Tcp::default();
    let mut any = false;
    for (kind, payload) in attributes {
        match kind {
            INFO => {
                info(&mut tcp, payload, state);
                any = true;
            }
            CONG => {
                let name = payload.split(|&c| c == 0).next().unwrap_or_default();
                tcp.congestion = Some(String::from_utf8_lossy(name).into_owned());
                any = true;
            }
            CGROUP_ID => tcp.cgroup_id = u64_at(payload, 0).filter(|id| *id != 0),
            _ => {}
        }
    }
    if !any {
        return None;
    }
    tcp.timer = timer(bytes);
    Some(tcp)
}

fn timer(bytes: &[u8]) -> Option<Timer> {
    let name = match u8_at(bytes, 2)? {
        0 => return None,
        1 => "on",
        2 => "keepalive",
        3 => "timewait",
        4 => "persist",
        _ => "unknown",
    };
    Some(Timer { name, retries: u8_at(bytes, 3)?, expires_ms: u32_at(bytes, 52)? })
}

/// Parses `struct tcp_info` (`include/uapi/linux/tcp.h`), which grows at its end.
fn info(tcp: &mut Tcp, info: &[u8], state: State) {
    if state == State::Listen {
        // For a listener these fields have other meanings: see `tcp_get_info`.
        return;
    }
    let positive = |at| u32_at(info, at).filter(|value| *value != 0);
    tcp.rto_us = positive(8);
    tcp.mss = positive(16);
    tcp.unacked = u32_at(info, 24);
    tcp.srtt_us = positive(68);
    tcp.rttvar_us = tcp.srtt_us.and_then(|_| u32_at(info, 72));
    tcp.ssthresh = u32_at(info, 76).filter(|value| *value < INFINITE_SSTHRESH);
    tcp.cwnd = positive(80);
    tcp.retransmits = u32_at(info, 100);
    tcp.tx_bytes = u64_at(info, 120).map(|acked| match (u64_at(info, 200), u64_at(info, 208)) {
        // SYN and FIN count as a byte acknowledged, but not as bytes sent (from 4.19).
        (Some(sent), Some(again)) => acked.min(sent.saturating_sub(again)),
        _ => acked,
    });
    tcp.rx_bytes = u64_at(info, 128);
    // ~0 before the first measurement.
    tcp.min_rtt_us = positive(148).filter(|value| *value != u32::MAX);
    tcp.backoff = u8_at(info, 4).map(u32::from);
    tcp.reordering = u32_at(info, 88);
    tcp.notsent_bytes = u32_at(info, 144);
    tcp.delivery_rate = u64_at(info, 160).filter(|rate| *rate != 0);
    // A bit field: its first bit.
    let first = if cfg!(target_endian = "little") { 1 } else { 0x80 };
    tcp.app_limited = tcp.delivery_rate.and_then(|_| u8_at(info, 7)).map(|bits| bits & first != 0);
    [tcp.busy_us, tcp.rwnd_limited_us, tcp.sndbuf_limited_us] = [168, 176, 184].map(|at| u64_at(info, at));
    tcp.retransmitted_bytes = u64_at(info, 208);
    [tcp.dsack, tcp.out_of_order, tcp.snd_wnd] = [216, 224, 228].map(|at| u32_at(info, at));
    // Before the handshake the kernel counts these from a time that never was.
    if !matches!(state, State::SynSent | State::SynRecv | State::Close) {
        [tcp.last_sent_ms, tcp.last_received_ms, tcp.last_ack_ms] = [44, 52, 56].map(|at| u32_at(info, at));
    }
}
