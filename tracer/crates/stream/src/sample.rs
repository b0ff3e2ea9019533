//! Events for tests, to be taken with changes (`..SOCKET`).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::{
    Close, ConnId, Direction, Discard, Drop, DropClass, Owner, OwnerSource, PacketEnds, ProcessFacts, Role, Socket,
    Stack, Told, Verdict,
};

/// The local end of [`SOCKET`].
pub const NEAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
/// The remote end of [`SOCKET`].
pub const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));

/// A client without an owner.
pub const SOCKET: Socket<'static> = Socket {
    conn: ConnId(1),
    proto: "tcp",
    family: 4,
    v4mapped: false,
    laddr: Some(NEAR),
    lport: Some(40_000),
    raddr: Some(FAR),
    rport: Some(443),
    ifindex: None,
    netns: Some(4_026_531_840),
    home: None,
    role: Role::Client,
    owner: None,
    owner_source: OwnerSource::Connect,
    holders: &[],
    v6only: None,
    mptcp: false,
};

/// An end with few known facts.
pub const CLOSE: Close = Close { duration_us: Some(1), verdict: Verdict::ClosedLocal, ..Close::UNKNOWN };

/// A process without facts.
pub fn owner(comm: &str, pid: u32) -> Owner {
    Owner {
        pid,
        tid: pid,
        uid: Some(1000),
        real_uid: Some(1000),
        comm: comm.into(),
        thread: None,
        start_ns: Some(u64::from(pid)),
        facts: Arc::new(ProcessFacts::default()),
        told: Told::default(),
    }
}

/// A SYN of [`SOCKET`].
pub fn dropped() -> Drop {
    Drop {
        reason: Some("NETFILTER_DROP".into()),
        reason_id: Some(11),
        class: DropClass::Policy,
        location: None,
        symbol: None,
        iface: None,
        netns: None,
        socket_netns: None,
        direction: Direction::Out,
        len: 60,
        protocol: Some("tcp"),
        ends: Some(PacketEnds { saddr: NEAR, sport: Some(40_000), daddr: FAR, dport: Some(443) }),
        tcp_flags: Some(2),
        seq: Some(1),
        icmp: None,
        about: None,
        fragment: false,
        count: 1,
        first_ns: 1,
        mixed: false,
        stack: Stack::NotAsked,
        hint: None,
    }
}

/// SYNs to a full accept queue.
pub fn discarded() -> Discard {
    Discard {
        counter: "TcpExtListenOverflows",
        count: 40,
        meaning: "the queue was full",
        iface: None,
        queue: Some(129),
        backlog: Some(128),
        conntrack: None,
        no_accept_us: None,
        syns: true,
        clients: Vec::new(),
    }
}
