//! The owners of packets, with made-up records.

use tracer_common::decode::Record;
use tracer_common::{
    drops::{
        DROP_MIXED, DROP_STACK, Direction, DropRecord, NO_REASON, PacketSocket, SEGMENT_RECEIVED, SOCKET_REQUEST,
        SegmentRecord, TCP_ACK, TCP_RST, TCP_SYN,
    },
    packet::{ETH_P_IP, Flow, HAS_PORTS, Packet},
    record::{FLAG_FILTERED, Header, RECORD_VERSION, RecordKind as K, RecordRole as R, Tuple},
    tcp::TcpState,
};
use tracer_rules::hint::{Hint, Question};
use tracer_stream::{DropClass, Event, Kind, Sink, Stack};
use tracer_tables::reasons::Reasons;

use super::super::{
    Correlation, Input,
    question::Answer,
    tests::{Only, Said, close, record, tuple},
};

/// A packet to (or from) the local end of `tuple`.
fn dropped(at: u64, tuple: &Tuple, direction: Direction) -> DropRecord {
    let incoming = direction == Direction::In;
    let (local, remote) = ((tuple.laddr, tuple.lport), (tuple.raddr, tuple.rport));
    let (source, destination) = if incoming { (remote, local) } else { (local, remote) };
    let flow = Flow {
        src: source.0,
        dst: destination.0,
        sport: source.1,
        dport: destination.1,
        family: 4,
        protocol: 6,
        flags: HAS_PORTS,
        reserved: 0,
    };
    DropRecord {
        header: Header { kind: K::Drop as u8, version: RECORD_VERSION, reserved: [0; 6], boot_ns: at },
        fold: 0,
        first_ns: at,
        count: 1,
        location: 0,
        reason: NO_REASON,
        len: 40,
        ifindex: 1,
        netns: tuple.netns,
        iface: *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        packet: Packet { flow, ethertype: ETH_P_IP, ..Packet::default() },
        direction: direction as u8,
        flags: 0,
        stack: 0,
        socket: PacketSocket::NONE,
    }
}

/// A reset without a socket.
fn reset(at: u64, tuple: &Tuple) -> SegmentRecord {
    SegmentRecord {
        header: Header { kind: K::Reset as u8, version: RECORD_VERSION, reserved: [0; 6], boot_ns: at },
        id: 0,
        inode: 0,
        tuple: *tuple,
        seq: 0,
        reason: NO_REASON,
        state: 0,
        tcp_flags: TCP_RST,
        flags: 0,
        socket_flags: 0,
        followed: 0,
        reserved: [0; 2],
    }
}

/// The events that follow from a listener, a connection, and packets of both.
fn play(gate: Only, packets: &[DropRecord]) -> Vec<String> {
    let mut said = Said::default();
    let mut core = Correlation::new(gate);
    core.apply(Input::Packets { reasons: Reasons::default(), drops: true }, &mut said);
    let listener = record(K::Listen, 1, 1, R::Listener, 0, 8, tuple(80, 0));
    core.apply(Input::Record(Record::Socket(K::Listen, &listener)), &mut said);
    let client = record(K::Connect, 2, 2, R::Client, 0, 5, tuple(0, 80));
    core.apply(Input::Record(Record::Socket(K::Connect, &client)), &mut said);
    let established = record(K::Established, 3, 2, R::Client, 0, 5, tuple(5000, 80));
    core.apply(Input::Record(Record::Socket(K::Established, &established)), &mut said);
    for packet in packets.iter().filter(|packet| packet.header.boot_ns < 50) {
        core.apply(Input::Record(Record::Drop(packet)), &mut said);
    }
    let closed = close(record(K::Close, 50, 2, R::Client, 0, 5, tuple(5000, 80)), TcpState::LastAck, 0);
    core.apply(Input::Record(Record::Close(&closed)), &mut said);
    for packet in packets.iter().filter(|packet| packet.header.boot_ns >= 50) {
        core.apply(Input::Record(Record::Drop(packet)), &mut said);
    }
    said.0.retain(|line| line.contains(" drop") || line.contains("close"));
    said.0
}

#[test]
fn the_best_evidence_counts() {
    let near = tuple(5000, 80);
    // A SYN to the listener from a client outside the trace.
    let to_listener = dropped(20, &tuple(80, 6000), Direction::In);
    let mut by_socket = dropped(21, &near, Direction::Out);
    by_socket.socket.id = 2;
    let mut stale = dropped(22, &tuple(7000, 7001), Direction::Out);
    stale.socket.id = 2;
    let packets = [
        dropped(10, &near, Direction::Out),
        dropped(11, &near, Direction::In),
        to_listener,
        by_socket,
        stale,
        dropped(23, &Tuple { netns: 0, ..tuple(80, 6000) }, Direction::In),
        dropped(60, &near, Direction::In),
        dropped(61, &tuple(81, 6000), Direction::In),
    ];
    let expected = [
        "10 drop 2 5 connect",
        "11 drop 2 5 connect",
        "20 drop 1 8 listen",
        "21 drop 2 5 connect",
        // The socket belongs to another connection by now.
        "22 drop 0 nobody unknown",
        // In another namespace, as far as known.
        "23 drop 0 nobody unknown",
        "50 close closed_remote 2 5 connect",
        // Of an ended connection.
        "60 drop 2 5 connect",
        "61 drop 0 nobody unknown",
    ];
    assert_eq!(play(Only(None), &packets), expected);
    assert_eq!(play(Only(None), &packets), expected, "the same records, the same stream");
}

#[test]
fn a_stack_is_asked_for_once() {
    const CALL: u64 = 0xffff_ffff_8100_0010;
    let mut said = Said::default();
    let mut core = Correlation::new(Only(None));
    core.apply(Input::Packets { reasons: Reasons::default(), drops: true }, &mut said);
    let mut record = dropped(10, &tuple(1, 2), Direction::In);
    (record.flags, record.stack, record.location) = (DROP_STACK, 7, CALL);
    assert_eq!(core.wants_of_packet(&Record::Drop(&record)).stack, Some((7, CALL)));
    let frames = ["nft_do_chain+0x10", "nf_hook_slow+0x3f"];
    let told = Some(frames.map(str::to_owned).to_vec());
    core.apply(Input::Answer(Answer::Stack { number: 7, location: CALL, frames: told }), &mut said);
    assert_eq!(core.wants_of_packet(&Record::Drop(&record)).stack, None);
    assert_eq!(core.describe(&record, false).stack, Stack::Known(frames.map(Into::into).into()));
    // The same number with another call: it is not that stack.
    record.location += 1;
    assert_eq!(core.wants_of_packet(&Record::Drop(&record)).stack, Some((7, CALL + 1)));
    core.apply(Input::Answer(Answer::Stack { number: 7, location: CALL + 1, frames: None }), &mut said);
    assert_eq!(core.wants_of_packet(&Record::Drop(&record)).stack, None);
    assert_eq!(core.describe(&record, false).stack, Stack::Missing);
    record.stack = 0;
    assert_eq!(core.wants_of_packet(&Record::Drop(&record)).stack, None);
    assert_eq!(core.describe(&record, false).stack, Stack::Missing);
    record.flags = 0;
    assert_eq!(core.describe(&record, false).stack, Stack::NotAsked);
}

#[test]
fn filters_keep_packets_out() {
    let near = tuple(5000, 80);
    let mut filtered = dropped(12, &tuple(1, 2), Direction::Out);
    filtered.socket.followed = FLAG_FILTERED;
    let packets = [dropped(10, &near, Direction::Out), dropped(11, &tuple(81, 6000), Direction::In), filtered];
    assert_eq!(play(Only(Some(8)), &packets), Vec::<String>::new());
    assert_eq!(play(Only(Some(5)), &packets), ["10 drop 2 5 connect", "50 close closed_remote 2 5 connect"]);
}

/// Their owner is unknown, and so is whether the filter wants them.
#[test]
fn packets_without_a_flow_are_no_less_counted_for_a_filter() {
    for (gate, told, unplaced) in [(Only(Some(8)), 0, 7), (Only(None), 1, 0)] {
        let mut said = Said::default();
        let mut core = Correlation::new(gate);
        core.apply(Input::Packets { reasons: Reasons::default(), drops: true }, &mut said);
        let mixed = DropRecord { flags: DROP_MIXED, count: 7, ..dropped(10, &tuple(5000, 80), Direction::Out) };
        core.apply(Input::Record(Record::Drop(&mixed)), &mut said);
        assert_eq!((said.0.len(), core.unplaced_drops(), core.filtered()), (told, unplaced, 0), "{:?}", said.0);
    }
}

#[test]
fn a_reset_tells_the_port_that_was_not_known() {
    let mut said = Said::default();
    let mut core = Correlation::new(Only(None));
    core.apply(Input::Packets { reasons: Reasons::default(), drops: false }, &mut said);
    let client = record(K::Connect, 2, 2, R::Client, 0, 5, tuple(0, 80));
    core.apply(Input::Record(Record::Socket(K::Connect, &client)), &mut said);
    let reset =
        SegmentRecord { id: 2, state: TcpState::SynSent as u8, flags: SEGMENT_RECEIVED, ..reset(3, &tuple(5000, 80)) };
    core.apply(Input::Record(Record::Segment(K::Reset, &reset)), &mut said);
    assert_eq!(said.0.last().map(String::as_str), Some("3 reset 1 5 connect"));
    assert!(core.connections.values().any(|connection| connection.tuple.lport == 5000));
}

/// The ends in a segment's event.
#[derive(Default)]
struct Ends(Vec<String>);

impl Sink for Ends {
    fn event(&mut self, event: &Event<'_>) {
        let Some(socket) = event.socket else { return };
        let end = |addr: Option<std::net::IpAddr>, port: Option<u16>| {
            format!("{}:{}", addr.map_or("*".into(), |addr| addr.to_string()), port.unwrap_or_default())
        };
        let (near, far) = (end(socket.laddr, socket.lport), end(socket.raddr, socket.rport));
        let (kind, role) = (event.kind.name(), socket.role.name());
        self.0.push(format!("{kind} {} {near} {far} {role}", socket.conn.0));
    }
}

#[test]
fn what_a_listener_sends_goes_to_somebody() {
    let mut said = Ends::default();
    let mut core = Correlation::new(Only(None));
    core.apply(Input::Packets { reasons: Reasons::default(), drops: false }, &mut said);
    let anywhere = Tuple { laddr: [0; 4], ..tuple(80, 0) };
    let listener = record(K::Listen, 1, 1, R::Listener, 0, 8, anywhere);
    core.apply(Input::Record(Record::Socket(K::Listen, &listener)), &mut said);
    let stranger = SegmentRecord { id: 1, state: TcpState::Listen as u8, ..reset(3, &tuple(80, 5000)) };
    core.apply(Input::Record(Record::Segment(K::Reset, &stranger)), &mut said);
    let again = SegmentRecord {
        id: 1,
        state: TcpState::NewSynRecv as u8,
        socket_flags: SOCKET_REQUEST,
        tcp_flags: TCP_SYN | TCP_ACK,
        ..reset(4, &tuple(80, 5001))
    };
    core.apply(Input::Record(Record::Segment(K::Retransmit, &again)), &mut said);
    // A kernel without that information.
    let unknown = SegmentRecord { id: 1, state: TcpState::Listen as u8, ..reset(5, &anywhere) };
    core.apply(Input::Record(Record::Segment(K::Reset, &unknown)), &mut said);
    let ends = |port| {
        let there = tuple(80, port);
        [there.laddr, there.raddr].map(|words| tracer_stream::address(4, words).0)
    };
    let [near, far] = ends(5000);
    assert_eq!(
        said.0,
        [
            "listen 1 0.0.0.0:80 *:0 listener".to_owned(),
            format!("reset 1 {near}:80 {far}:5000 listener"),
            format!("retransmit 1 {near}:80 {far}:5001 listener"),
            "reset 1 0.0.0.0:80 *:0 listener".to_owned(),
        ]
    );
}

/// A call site in the evaluation of rules.
const RULES: u64 = 0x1000;

/// The emitted drops: time, connection and hint; of other events the kind.
#[derive(Default)]
struct Hinted(Vec<String>);

impl Sink for Hinted {
    fn event(&mut self, event: &Event<'_>) {
        let conn = event.socket.map_or(0, |socket| socket.conn.0);
        let what = match event.kind {
            Kind::Drop(drop) => drop.hint.as_ref().map_or("no hint", |hint| &hint.text).to_owned(),
            other => other.name().to_owned(),
        };
        self.0.push(format!("{} {conn} {what}", event.boot_ns));
    }
}

/// The same answer to all questions.
fn answers(core: &Correlation<Only>, text: &str) -> Input<Record<'static>> {
    let asked = core.wanted_hints();
    let hints = asked.iter().flat_map(|asked| &asked.drops).map(|open| (open.number, Some(Hint::of(text))));
    Input::Answer(Answer::Hints(hints.collect()))
}

fn by_a_rule(at: u64, direction: Direction) -> DropRecord {
    let mut record = dropped(at, &tuple(4000, 5000), direction);
    record.location = RULES;
    record.iface = *b"wire\0\0\0\0\0\0\0\0\0\0\0\0";
    record
}

/// A core with connection 1, from port 4000 to 5000, and a name for the call site.
fn core(said: &mut Hinted) -> Correlation<Only> {
    let mut core = Correlation::new(Only(None));
    core.apply(Input::Packets { reasons: Reasons::default(), drops: true }, said);
    core.apply(Input::Answer(Answer::Symbol(RULES, Some("nft_do_chain+0x1".into()))), said);
    let connect = record(K::Connect, 2, 2, R::Client, 0, 5, tuple(4000, 5000));
    core.apply(Input::Record(Record::Socket(K::Connect, &connect)), said);
    core
}

#[test]
fn a_drop_waits_for_what_is_read_after_it() {
    let mut said = Hinted::default();
    let mut core = core(&mut said);
    core.apply(Input::Record(Record::Drop(&by_a_rule(10, Direction::In))), &mut said);
    let wanted = core.wanted_hints();
    assert!(
        matches!(&*wanted, [asked] if asked.netns == 1 && asked.pid == Some(5) && asked.nftables_drops
            && matches!(&*asked.drops, [open] if open.question == Question::Rules && open.site().iface == Some("wire"))),
        "{wanted:?}"
    );
    let answered = answers(&core, "a rule");
    let closed = close(record(K::Close, 50, 2, R::Client, 0, 5, tuple(4000, 5000)), TcpState::LastAck, 0);
    core.apply(Input::Record(Record::Close(&closed)), &mut said);
    // Dropped later: the tables that were read are older than the drop.
    core.apply(Input::Record(Record::Drop(&by_a_rule(55, Direction::In))), &mut said);
    assert_eq!(said.0, ["2 1 connect", "50 1 close"]);
    core.apply(answered, &mut said);
    // The owner stays that of the time of the drop.
    assert_eq!(said.0.last().map(String::as_str), Some("10 1 a rule"));
    assert!(core.waits_for_hints());
    let answered = answers(&core, "another");
    core.apply(answered, &mut said);
    assert_eq!(said.0.last().map(String::as_str), Some("55 1 another"));
    assert!(!core.waits_for_hints() && core.wanted_hints().is_empty());
}

#[test]
fn what_waits_is_told_at_the_end_and_when_there_is_too_much() {
    let mut said = Hinted::default();
    let mut core = core(&mut said);
    for at in 0..300 {
        core.apply(Input::Record(Record::Drop(&by_a_rule(100 + at, Direction::Out))), &mut said);
    }
    let told = said.0.len();
    assert!(told > 1 && said.0[1..].iter().all(|line| line.ends_with("1 no hint")), "{:?}", said.0);
    assert_eq!(core.hints_given_up(), told as u64 - 1);
    core.apply(Input::End { boot_ns: 500, followed: None }, &mut said);
    assert_eq!(said.0.iter().filter(|line| line.ends_with("no hint")).count(), 300);
    assert_eq!(core.hints_given_up(), 300);
    let times: Vec<u64> = said.0.iter().filter_map(|line| line.split(' ').next()?.parse().ok()).collect();
    assert!(times.is_sorted(), "in their order, and before the ends of connections: {times:?}");
}

/// Thousands of drops in one namespace do not cost others their hints.
#[test]
fn one_namespace_does_not_crowd_another_out() {
    let mut said = Hinted::default();
    let mut core = core(&mut said);
    let in_netns = |netns, at| DropRecord { netns, ..by_a_rule(at, Direction::Out) };
    for (netns, at) in [(2, 10), (3, 11)] {
        core.apply(Input::Record(Record::Drop(&in_netns(netns, at))), &mut said);
    }
    for at in 100..1000 {
        core.apply(Input::Record(Record::Drop(&in_netns(1, at))), &mut said);
    }
    let mut waiting: Vec<(u32, usize)> =
        core.wanted_hints().iter().map(|asked| (asked.netns, asked.drops.len())).collect();
    waiting.sort_unstable();
    assert_eq!(waiting, [(1, 254), (2, 1), (3, 1)]);
    assert_eq!(core.hints_given_up(), 902 - 256);
}

/// The classes of the emitted drops.
#[derive(Default)]
struct Classes(Vec<DropClass>);

impl Sink for Classes {
    fn event(&mut self, event: &Event<'_>) {
        if let Kind::Drop(drop) = event.kind {
            self.0.push(drop.class);
        }
    }
}

#[test]
fn without_reasons_a_reset_tells_that_nobody_was_there() {
    let mut classes = Classes::default();
    let mut core = Correlation::new(Only(None));
    core.apply(Input::Packets { reasons: Reasons::default(), drops: true }, &mut classes);
    for (address, name) in [(1, "tcp_v4_rcv+0x62"), (2, "ip_rcv_finish_core.constprop.0+0x20e")] {
        core.apply(Input::Answer(Answer::Symbol(address, Some(name.to_owned()))), &mut classes);
    }
    let closed = tuple(81, 6000);
    let mut apply = |record: Record<'_>| core.apply(Input::Record(record), &mut classes);
    let drop = |at, location, tuple: &Tuple| {
        let mut drop = dropped(at, tuple, Direction::In);
        (drop.location, drop.packet.tcp_flags) = (location, TCP_SYN);
        drop
    };
    // Not answered yet; answered; by another function; another flow; long ago.
    apply(Record::Drop(&drop(9, 1, &closed)));
    apply(Record::Segment(K::Reset, &reset(10, &closed)));
    apply(Record::Drop(&drop(11, 1, &closed)));
    apply(Record::Drop(&drop(12, 2, &closed)));
    apply(Record::Drop(&drop(13, 1, &tuple(81, 6001))));
    apply(Record::Drop(&drop(2_000_000_000, 1, &closed)));
    // A socket's reset proves nothing.
    apply(Record::Segment(K::Reset, &SegmentRecord { state: TcpState::TimeWait as u8, ..reset(20, &tuple(81, 7)) }));
    apply(Record::Drop(&drop(21, 1, &tuple(81, 7))));
    let (loss, refused) = (DropClass::Loss, DropClass::Refused);
    assert_eq!(classes.0, [loss, refused, loss, loss, loss, loss]);
}

#[test]
fn an_answer_waits_for_the_port_of_the_client() {
    let mut said = Said::default();
    let mut core = Correlation::new(Only(None));
    core.apply(Input::Packets { reasons: Reasons::default(), drops: true }, &mut said);
    for id in [2, 3] {
        let client = record(K::Connect, id, id, R::Client, 0, 5, tuple(0, 80));
        core.apply(Input::Record(Record::Socket(K::Connect, &client)), &mut said);
    }
    let answer = |at, port| {
        let mut drop = dropped(at, &tuple(port, 80), Direction::In);
        drop.packet.tcp_flags = TCP_SYN | TCP_ACK;
        drop
    };
    let drops = |said: &Said| said.0.iter().filter(|line| line.contains(" drop")).cloned().collect::<Vec<_>>();
    for (at, port) in [(10, 5002), (11, 5003), (12, 5004)] {
        core.apply(Input::Record(Record::Drop(&answer(at, port))), &mut said);
    }
    // From elsewhere nothing is expected.
    core.apply(Input::Record(Record::Drop(&dropped(13, &tuple(9, 81), Direction::In))), &mut said);
    assert_eq!(drops(&said).len(), 1, "{:?}", said.0);
    let established = record(K::Established, 20, 2, R::Client, 0, 5, tuple(5002, 80));
    core.apply(Input::Record(Record::Socket(K::Established, &established)), &mut said);
    assert_eq!(drops(&said).len(), 2, "the others may belong to the other client: {:?}", said.0);
    // The kernel retransmits its SYN, which shows the port.
    let again = SegmentRecord { id: 3, tcp_flags: TCP_SYN, tuple: tuple(5003, 80), ..reset(30, &tuple(5003, 80)) };
    core.apply(Input::Record(Record::Segment(K::Retransmit, &again)), &mut said);
    let expected =
        ["13 drop 0 nobody unknown", "10 drop 1 5 connect", "11 drop 2 5 connect", "12 drop 0 nobody unknown"];
    assert_eq!(drops(&said), expected);
    assert_eq!(core.connections.values().map(|connection| connection.drops).sum::<u64>(), 2);
}
