//! Looks and drops with made-up figures: each count is emitted once, with its owner.

use tracer_common::decode::Record;
use tracer_common::{
    drops::{Direction, PacketSocket},
    packet::{ETH_P_IP, Flow, HAS_PORTS, Packet},
    record::{FLAG_ACCEPTED, Header, RECORD_VERSION, RecordKind as K, RecordRole as R},
};
use tracer_tables::discards::{
    Moved, SocketLook,
    counter::{LISTEN_DROPS, UDP_FULL, by_name},
};
use tracer_tables::reasons::Reasons;

use super::*;
use crate::{
    Input,
    tests::{Only, record, tuple},
};

const SECOND: u64 = 1_000_000_000;

/// The emitted counts: counter, count, owner, seconds without accept().
#[derive(Default)]
struct Told(Vec<String>);

impl Sink for Told {
    fn event(&mut self, event: &Event<'_>) {
        let Kind::Discard(discard) = event.kind else { return };
        let owner = event.socket.and_then(|socket| socket.owner).map_or(0, |owner| owner.pid);
        let idle = discard.no_accept_us.map_or(-1, |us| i64::try_from(us / 1_000_000).unwrap_or(-2));
        let clients: Vec<u32> = discard.clients.iter().map(|owner| owner.pid).collect();
        self.0.push(format!("{} {} of {owner} idle {idle} clients {clients:?}", discard.counter, discard.count));
    }
}

fn core(counting: Counting) -> (Correlation<Only>, Told) {
    let (mut core, mut told) = (Correlation::new(Only(None)), Told::default());
    core.apply(Input::Packets { reasons: Reasons::default(), drops: true }, &mut told);
    core.apply(Input::Counting(counting), &mut told);
    (core, told)
}

fn counting(drops: bool) -> Counting {
    Counting { drops, accepts: true, began_ns: SECOND }
}

fn moved(name: &str, count: u64) -> Moved {
    Moved { counter: by_name(name).unwrap_or_else(|| panic!("{name}")), device: None, before: 100, now: 100 + count }
}

fn look(at: u64, moved: &[Moved], sockets: &[SocketLook]) -> Input<Record<'static>> {
    Input::Counters(Look {
        since_ns: (at - 1) * SECOND,
        boot_ns: at * SECOND,
        netns: Some(1),
        conntrack: None,
        moved: moved.to_vec(),
        sockets: sockets.to_vec(),
    })
}

fn listener(lport: u16, before: u32, now: u32, queue: (u32, u32)) -> SocketLook {
    SocketLook {
        tuple: tuple(lport, 0),
        listens: true,
        inode: lport.into(),
        before,
        now,
        queue: Some(queue),
        holders: Vec::new(),
    }
}

/// A listener at `lport` of process `pid` that began at second 2.
fn listen(core: &mut Correlation<Only>, told: &mut Told, lport: u16, pid: u32) {
    let record = record(K::Listen, 2 * SECOND, u64::from(lport), R::Listener, 0, pid, tuple(lport, 0));
    core.apply(Input::Record(Record::Socket(K::Listen, &record)), told);
}

fn overflow_drop(at_ns: u64, dport: u16, count: u64) -> DropRecord {
    let to = tuple(dport, 4000);
    let flow = Flow {
        src: to.raddr,
        dst: to.laddr,
        sport: to.rport,
        dport,
        family: 4,
        protocol: 6,
        flags: HAS_PORTS,
        reserved: 0,
    };
    DropRecord {
        header: Header { kind: K::Drop as u8, version: RECORD_VERSION, reserved: [0; 6], boot_ns: at_ns },
        fold: 0,
        first_ns: at_ns,
        count,
        location: 0,
        reason: 5,
        len: 40,
        ifindex: 1,
        netns: 1,
        iface: *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        packet: Packet { flow, ethertype: ETH_P_IP, ..Packet::default() },
        direction: Direction::In as u8,
        flags: 0,
        stack: 0,
        socket: PacketSocket::NONE,
    }
}

#[test]
fn the_listener_that_is_full_is_named() {
    let (mut core, mut told) = core(counting(false));
    listen(&mut core, &mut told, 80, 7);
    listen(&mut core, &mut told, 81, 8);
    let moved = [moved(OVERFLOWS, 16), moved(LISTEN_DROPS, 16)];
    core.apply(look(9, &moved, &[listener(81, 2, 18, (2, 1))]), &mut told);
    assert_eq!(told.0, ["TcpExtListenOverflows 16 of 8 idle 7 clients []"]);
}

#[test]
fn of_two_listeners_each_has_its_own() {
    let (mut core, mut told) = core(counting(false));
    listen(&mut core, &mut told, 80, 7);
    listen(&mut core, &mut told, 81, 8);
    let both = [listener(80, 0, 4, (2, 1)), listener(81, 0, 12, (2, 1))];
    core.apply(look(9, &[moved(OVERFLOWS, 16), moved(LISTEN_DROPS, 16)], &both), &mut told);
    assert_eq!(
        told.0,
        ["TcpExtListenOverflows 12 of 8 idle 7 clients []", "TcpExtListenOverflows 4 of 7 idle 7 clients []"]
    );
    // Of their other discards only the sum is known: it is emitted once.
    told.0.clear();
    let both = [listener(80, 4, 6, (2, 1)), listener(81, 12, 13, (0, 1))];
    core.apply(look(10, &[moved(OVERFLOWS, 2), moved(LISTEN_DROPS, 3)], &both), &mut told);
    assert_eq!(told.0, ["TcpExtListenDrops 2 of 7 idle 8 clients []", "TcpExtListenDrops 1 of 8 idle 8 clients []"]);
}

#[test]
fn an_accept_is_remembered_and_lost_records_make_it_unknown() {
    let (mut core, mut told) = core(counting(false));
    listen(&mut core, &mut told, 80, 7);
    let mut accept = record(K::Accept, 5 * SECOND, 900, R::Server, FLAG_ACCEPTED, 7, tuple(80, 4000));
    accept.state.parent = 80;
    core.apply(Input::Record(Record::Socket(K::Accept, &accept)), &mut told);
    let full = [listener(80, 0, 1, (2, 1))];
    core.apply(look(9, &[moved(OVERFLOWS, 1), moved(LISTEN_DROPS, 1)], &full), &mut told);
    core.apply(Input::Lost { boot_ns: 9, class: "lifecycle", count: 1 }, &mut told);
    core.apply(look(10, &[moved(OVERFLOWS, 1), moved(LISTEN_DROPS, 1)], &full), &mut told);
    assert_eq!(
        told.0,
        ["TcpExtListenOverflows 1 of 7 idle 4 clients []", "TcpExtListenOverflows 1 of 7 idle -1 clients []"]
    );
}

#[test]
fn clients_of_this_host_that_wait_are_named() {
    let (mut core, mut told) = core(counting(false));
    listen(&mut core, &mut told, 80, 7);
    for (id, netns, rport) in [(11, 1, 80), (12, 2, 80), (13, 1, 81)] {
        let pid = u32::try_from(id).unwrap_or(0);
        let to = Tuple { netns, ..tuple(0, rport) };
        let connect = record(K::Connect, 3 * SECOND, id, R::Client, 0, pid, to);
        core.apply(Input::Record(Record::Socket(K::Connect, &connect)), &mut told);
    }
    core.apply(look(9, &[moved(OVERFLOWS, 1), moved(LISTEN_DROPS, 1)], &[listener(80, 0, 1, (2, 1))]), &mut told);
    assert_eq!(told.0, ["TcpExtListenOverflows 1 of 7 idle 7 clients [11, 12]"]);
}

/// A core for which reason 5 of drops is that of a full accept queue.
fn with_reason() -> (Correlation<Only>, Told) {
    let (mut core, mut told) = (Correlation::new(Only(None)), Told::default());
    let reasons = Reasons::of(&[(5, "TCP_LISTEN_OVERFLOW"), (6, "SOCKET_RCVBUFF")]);
    core.apply(Input::Packets { reasons, drops: true }, &mut told);
    core.apply(Input::Counting(counting(true)), &mut told);
    (core, told)
}

#[test]
fn what_a_drop_event_has_told_is_not_told_again() {
    let (mut core, mut told) = with_reason();
    listen(&mut core, &mut told, 80, 7);
    core.apply(look(9, &[moved(OVERFLOWS, 5), moved(LISTEN_DROPS, 5)], &[listener(80, 0, 5, (2, 1))]), &mut told);
    core.apply(Input::Settled, &mut told);
    // A fold comes late.
    core.apply(Input::Record(Record::Drop(&overflow_drop(8 * SECOND + 1, 80, 2))), &mut told);
    assert!(told.0.is_empty());
    core.apply(Input::Settled, &mut told);
    assert_eq!(told.0, ["TcpExtListenOverflows 3 of 7 idle 7 clients []"]);
    // All of the next ones were in drop events.
    told.0.clear();
    core.apply(Input::Record(Record::Drop(&overflow_drop(10 * SECOND - 5, 80, 4))), &mut told);
    core.apply(look(10, &[moved(OVERFLOWS, 4), moved(LISTEN_DROPS, 4)], &[listener(80, 5, 9, (2, 1))]), &mut told);
    core.apply(Input::End { boot_ns: 11 * SECOND, followed: None }, &mut told);
    assert!(told.0.is_empty(), "{:?}", told.0);
}

#[test]
fn what_waits_is_told_at_the_end() {
    let (mut core, mut told) = with_reason();
    let socket = SocketLook { listens: false, queue: None, ..listener(53, 0, 34, (0, 0)) };
    core.apply(look(9, &[moved(UDP_FULL[0], 34)], &[socket]), &mut told);
    core.apply(Input::End { boot_ns: 10 * SECOND, followed: None }, &mut told);
    assert_eq!(told.0, ["UdpRcvbufErrors 34 of 0 idle -1 clients []"]);
}

#[test]
fn what_no_socket_accounts_for_is_the_namespaces() {
    let (mut core, mut told) = core(counting(false));
    let v6 = SocketLook { listens: false, queue: None, ..listener(53, 0, 4, (0, 0)) };
    let moved = [moved(UDP_FULL[0], 6), moved("TcpExtRcvPruned", 2)];
    core.apply(look(9, &moved, &[v6]), &mut told);
    assert_eq!(
        told.0,
        [
            "UdpRcvbufErrors 4 of 0 idle -1 clients []",
            "UdpRcvbufErrors 2 of 0 idle -1 clients []",
            "TcpExtRcvPruned 2 of 0 idle -1 clients []"
        ]
    );
}

#[test]
fn filters_hold_for_sockets_and_for_what_has_none() {
    let mut told = Told::default();
    let mut core = Correlation::new(Only(Some(8)));
    core.apply(Input::Counting(counting(false)), &mut told);
    listen(&mut core, &mut told, 80, 7);
    listen(&mut core, &mut told, 81, 8);
    let both = [listener(80, 0, 1, (2, 1)), listener(81, 0, 1, (2, 1))];
    let moved = [moved(OVERFLOWS, 2), moved(LISTEN_DROPS, 2), moved("TcpExtRcvPruned", 1)];
    core.apply(look(9, &moved, &both), &mut told);
    assert_eq!(told.0, ["TcpExtListenOverflows 1 of 8 idle 7 clients []"]);
}

/// Datagrams of this family to this port, dropped for lack of room.
fn full_buffer(family: u8, dport: u16, count: u64) -> DropRecord {
    let mut record = overflow_drop(9 * SECOND - 5, dport, count);
    record.reason = 6;
    (record.packet.flow.family, record.packet.flow.protocol) = (family, 17);
    record
}

fn datagrams(lport: u16, family: u8, now: u32) -> SocketLook {
    let tuple = Tuple { family, laddr: if family == 6 { [0; 4] } else { tuple(lport, 0).laddr }, ..tuple(lport, 0) };
    SocketLook { tuple, listens: false, queue: None, ..listener(lport, 0, now, (0, 0)) }
}

#[test]
fn drops_of_both_families_are_subtracted_from_a_dual_stack_socket() {
    let (mut core, mut told) = with_reason();
    for record in [full_buffer(4, 53, 50), full_buffer(4, 56, 50), full_buffer(6, 56, 50)] {
        core.apply(Input::Record(Record::Drop(&record)), &mut told);
    }
    let both = [moved(UDP_FULL[0], 100), moved(UDP_FULL[1], 50)];
    core.apply(look(9, &both, &[datagrams(53, 4, 50), datagrams(56, 6, 100)]), &mut told);
    core.apply(Input::End { boot_ns: 10 * SECOND, followed: None }, &mut told);
    assert!(told.0.is_empty(), "{:?}", told.0);
}

#[test]
fn what_no_drop_told_of_a_dual_stack_socket_is_told_once_for_each_family() {
    let (mut core, mut told) = with_reason();
    core.apply(Input::Record(Record::Drop(&full_buffer(6, 56, 50))), &mut told);
    let both = [moved(UDP_FULL[0], 3), moved(UDP_FULL[1], 52)];
    core.apply(look(9, &both, &[datagrams(56, 6, 55)]), &mut told);
    core.apply(Input::End { boot_ns: 10 * SECOND, followed: None }, &mut told);
    assert_eq!(told.0, ["UdpRcvbufErrors 3 of 0 idle -1 clients []", "Udp6RcvbufErrors 2 of 0 idle -1 clients []"]);
}

#[test]
fn of_several_workers_at_a_port_each_has_its_own_last_accept() {
    let (mut core, mut told) = core(counting(false));
    for (id, pid) in [(80, 7), (81, 8)] {
        let mut record = record(K::Listen, 2 * SECOND, id, R::Listener, 0, pid, tuple(80, 0));
        record.state.parent = u32::try_from(id).unwrap_or(0);
        core.apply(Input::Record(Record::Socket(K::Listen, &record)), &mut told);
    }
    let mut accept = record(K::Accept, 8 * SECOND, 900, R::Server, FLAG_ACCEPTED, 8, tuple(80, 4000));
    accept.state.parent = 81;
    core.apply(Input::Record(Record::Socket(K::Accept, &accept)), &mut told);
    let worker = |inode, now| SocketLook { inode, ..listener(80, 0, now, (2, 1)) };
    let full = [moved(OVERFLOWS, 3), moved(LISTEN_DROPS, 3)];
    core.apply(look(9, &full, &[worker(80, 2), worker(81, 1)]), &mut told);
    assert_eq!(
        told.0,
        ["TcpExtListenOverflows 2 of 7 idle 7 clients []", "TcpExtListenOverflows 1 of 8 idle 1 clients []"]
    );
    // The owner of the next one is unknown: neither gets a count.
    told.0.clear();
    accept.state.parent = 0;
    accept.state.id = 901;
    accept.tuple.rport = 4001;
    core.apply(Input::Record(Record::Socket(K::Accept, &accept)), &mut told);
    core.apply(look(10, &full, &[worker(80, 3)]), &mut told);
    assert!(told.0.first().is_some_and(|first| first.contains("idle -1")), "{:?}", told.0);
}

#[test]
fn clients_of_other_namespaces_are_named_only_where_none_else_can_be_meant() {
    let full = [moved(OVERFLOWS, 1), moved(LISTEN_DROPS, 1)];
    let clients = |namespaces: &[u32], other_listener: bool| {
        let (mut core, mut told) = core(counting(false));
        listen(&mut core, &mut told, 80, 7);
        if other_listener {
            let twin = Tuple { netns: 9, ..tuple(80, 0) };
            let record = record(K::Listen, 2 * SECOND, 99, R::Listener, 0, 70, twin);
            core.apply(Input::Record(Record::Socket(K::Listen, &record)), &mut told);
        }
        for (id, netns) in (11..).zip(namespaces) {
            let pid = u32::try_from(id).unwrap_or(0);
            let connect =
                record(K::Connect, 3 * SECOND, id, R::Client, 0, pid, Tuple { netns: *netns, ..tuple(0, 80) });
            core.apply(Input::Record(Record::Socket(K::Connect, &connect)), &mut told);
        }
        core.apply(look(9, &full, &[listener(80, 0, 1, (2, 1))]), &mut told);
        told.0.concat().split_once("clients ").map(|(_, clients)| clients.to_owned())
    };
    assert_eq!(clients(&[2], false).as_deref(), Some("[11]"));
    assert_eq!(clients(&[2, 3], false).as_deref(), Some("[]"), "both have the same address");
    assert_eq!(clients(&[1, 2, 3], false).as_deref(), Some("[11]"), "its own namespace is no other");
    assert_eq!(clients(&[2], true).as_deref(), Some("[]"), "it may mean the other listener");
}

#[test]
fn a_client_whose_syn_was_dropped_elsewhere_is_not_named() {
    let (mut core, mut told) = (Correlation::new(Only(None)), Told::default());
    core.apply(Input::Packets { reasons: Reasons::of(&[(9, "NETFILTER_DROP")]), drops: true }, &mut told);
    core.apply(Input::Counting(counting(true)), &mut told);
    listen(&mut core, &mut told, 80, 7);
    for (id, lport) in [(11, 4000), (12, 4001)] {
        let to = Tuple { netns: id as u32, ..tuple(lport, 80) };
        let connect = record(K::Connect, 3 * SECOND, id, R::Client, 0, id as u32, to);
        core.apply(Input::Record(Record::Socket(K::Connect, &connect)), &mut told);
    }
    let mut drop = overflow_drop(4 * SECOND, 80, 1);
    (drop.reason, drop.netns, drop.direction) = (9, 12, Direction::Out as u8);
    let flow = &mut drop.packet.flow;
    (flow.src, flow.dst, flow.sport) = (tuple(0, 0).laddr, tuple(0, 0).laddr, 4001);
    core.apply(Input::Record(Record::Drop(&drop)), &mut told);
    core.apply(look(9, &[moved(OVERFLOWS, 1), moved(LISTEN_DROPS, 1)], &[listener(80, 0, 1, (2, 1))]), &mut told);
    core.apply(Input::End { boot_ns: 10 * SECOND, followed: None }, &mut told);
    assert!(told.0.iter().any(|said| said.ends_with("clients [11]")), "{:?}", told.0);
}
