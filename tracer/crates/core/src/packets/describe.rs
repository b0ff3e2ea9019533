//! From a record to the stream's description of a dropped packet.

use std::{net::IpAddr, rc::Rc};

use tracer_common::{
    drops::{
        DROP_MIXED, DROP_STACK, Direction, DropRecord, NO_REASON, PacketSocket, SOCKET_REQUEST, SOCKET_TIME_WAIT,
        SOCKET_TUPLE,
    },
    packet::{FRAGMENT, Flow, HAS_PORTS, TRUNCATED},
    tcp::TcpState,
};
use tracer_rules::hint::{self, Site};
use tracer_stream::{self as stream, Drop, DropClass, PacketEnds, Stack, protocol};

use super::super::{
    Correlation, Gate,
    class::{Circumstances, class},
};

const IPPROTO_ICMP: u8 = 1;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_ICMPV6: u8 = 58;

/// The source and the destination of a packet.
pub fn ends(flow: &Flow) -> Option<PacketEnds> {
    if flow.family == 0 {
        return None;
    }
    let port = |port| Some(port).filter(|_| flow.flags & HAS_PORTS != 0);
    // A header's v4-mapped address stays as it is.
    let address = |words: [u32; 4]| match flow.family {
        4 => stream::address(4, words).0,
        _ => {
            let bytes = words.map(u32::to_ne_bytes).concat();
            <[u8; 16]>::try_from(bytes).map_or(IpAddr::from([0; 16]), IpAddr::from)
        }
    };
    Some(PacketEnds {
        saddr: address(flow.src),
        sport: port(flow.sport),
        daddr: address(flow.dst),
        dport: port(flow.dport),
    })
}

impl<G: Gate> Correlation<G> {
    /// Describes a drop, apart from its owner. `answered`: by a reset of no socket.
    pub(super) fn describe(&mut self, record: &DropRecord, answered: bool) -> Drop {
        let (reason, usual) =
            self.packets.drop_name(record.reason).map_or((None, DropClass::Loss), |(name, class)| (Some(name), class));
        let mixed = record.flags & DROP_MIXED != 0;
        let packet = &record.packet;
        let told = |told: bool| told && !mixed;
        let ends = ends(&packet.flow).filter(|_| !mixed);
        let is_tcp = packet.flow.protocol == IPPROTO_TCP && packet.flow.flags & (HAS_PORTS | TRUNCATED) == HAS_PORTS;
        let is_icmp = ends.is_some()
            && matches!(packet.flow.protocol, IPPROTO_ICMP | IPPROTO_ICMPV6)
            && packet.flow.flags & TRUNCATED == 0;
        let tcp_flags = Some(packet.tcp_flags).filter(|_| told(is_tcp));
        let circumstances = Circumstances {
            function: self.packets.function(record.location),
            answered,
            is_ip: packet.flow.family != 0 || record.socket.tuple.family != 0,
            to_many: ends.is_some_and(|ends| is_many(ends.daddr)),
            tcp_flags,
            // Sockets of other protocols reuse the numbers of TCP states.
            state: TcpState::from_number(record.socket.state).filter(|_| is_tcp_socket(&record.socket)),
        };
        let iface = std::str::from_utf8(&record.iface).unwrap_or_default().trim_end_matches('\0');
        let mut drop = Drop {
            class: class(reason.as_deref().unwrap_or_default(), usual, &circumstances),
            reason,
            reason_id: Some(record.reason).filter(|reason| *reason != NO_REASON),
            location: Some(record.location).filter(|at| *at != 0 && self.packets.shows(*at)),
            symbol: self.packets.symbols.get(&record.location).cloned().flatten(),
            iface: Some(iface).filter(|name| told(!name.is_empty())).map(Rc::from),
            netns: Some(record.netns).filter(|netns| told(*netns != 0)),
            // The owner follows later.
            socket_netns: None,
            direction: if mixed { Direction::Unknown } else { Direction::from_number(record.direction) },
            len: record.len,
            protocol: Some(protocol(packet.flow.protocol))
                .filter(|_| told(packet.flow.family != 0 || packet.flow.protocol != 0)),
            ends,
            tcp_flags,
            seq: Some(packet.seq).filter(|_| told(is_tcp)),
            icmp: Some((packet.icmp_type, packet.icmp_code)).filter(|_| is_icmp),
            about: self::ends(&packet.inner).filter(|_| !mixed).map(|ends| (protocol(packet.inner.protocol), ends)),
            fragment: told(packet.flow.flags & FRAGMENT != 0),
            count: record.count,
            first_ns: record.first_ns,
            mixed,
            stack: self.packets.stack_of(record),
            hint: None,
        };
        drop.hint = hint::by_itself(&Site::from(&drop)).map(Box::new);
        drop
    }
}

impl super::Packets {
    fn stack_of(&self, record: &DropRecord) -> Stack {
        if record.flags & DROP_STACK == 0 {
            return Stack::NotAsked;
        }
        self.stacks.get(&(record.stack, record.location)).cloned().unwrap_or(Stack::Missing)
    }

    /// Whether the address of a symbol may be shown. Without a name the administrator hides both.
    fn shows(&self, address: u64) -> bool {
        self.symbols.get(&address).is_some_and(Option::is_some)
    }
}

fn is_tcp_socket(socket: &PacketSocket) -> bool {
    socket.flags & SOCKET_TUPLE != 0
        && (socket.protocol == u16::from(IPPROTO_TCP) || socket.flags & (SOCKET_REQUEST | SOCKET_TIME_WAIT) != 0)
}

/// Whether an address is multicast or broadcast, judged by the address alone.
fn is_many(addr: IpAddr) -> bool {
    addr.is_multicast() || addr == IpAddr::from([255, 255, 255, 255])
}
