use std::{net::IpAddr, rc::Rc};

use tracer_stream::{ConnId, Discard, Drop, DropClass, Event, Kind, Owner, Role, Socket, sample};
use tracer_tables::discards::counter::{OVERFLOWS, UDP_FULL};

use super::super::Findings;

fn discard(counter: &'static str, count: u64) -> Discard {
    Discard {
        counter,
        count,
        meaning: "packets discarded",
        iface: None,
        queue: None,
        backlog: None,
        conntrack: None,
        no_accept_us: None,
        syns: false,
        clients: Vec::new(),
    }
}

fn listener(owner: &Owner) -> Socket<'_> {
    let laddr = Some(IpAddr::from([10, 88, 0, 2]));
    Socket {
        conn: ConnId(3),
        laddr,
        lport: Some(7005),
        raddr: None,
        rport: None,
        netns: Some(7),
        role: Role::Listener,
        owner: Some(owner),
        ..sample::SOCKET
    }
}

fn text(findings: &Findings) -> String {
    let all = findings.all();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].text.clone()
}

#[test]
fn syns_to_a_full_queue_are_named_with_their_listener() {
    let (python, curl) = (sample::owner("python3", 25_668), sample::owner("curl", 12));
    let mut findings = Findings::default();
    let mut full = Discard {
        queue: Some(2),
        backlog: Some(1),
        no_accept_us: Some(6_200_000),
        syns: true,
        ..discard(OVERFLOWS, 15)
    };
    let mut say = |discard: &Discard| {
        let event = Event { boot_ns: 1, socket: Some(listener(&python)), kind: Kind::Discard(discard) };
        findings.event(&event).is_some()
    };
    assert!(say(&full));
    full.count = 1;
    assert!(!say(&full), "it is said once");
    let all = "16 SYNs to 10.88.0.2:7005 discarded by python3[25668]: accept queue 2 of 1, no accept() for 6 s";
    assert_eq!(text(&findings), all);
    full.clients = vec![Rc::new(curl)];
    findings.event(&Event { boot_ns: 1, socket: Some(listener(&python)), kind: Kind::Discard(&full) });
    assert!(text(&findings).starts_with("17 SYNs of curl[12] to 10.88.0.2:7005 discarded by"), "{}", text(&findings));
    // The last ACK of a handshake has a drop event: one cause, one finding.
    let drop =
        Drop { reason: Some("TCP_LISTEN_OVERFLOW".into()), class: DropClass::Loss, count: 2, ..sample::dropped() };
    findings.event(&Event { boot_ns: 2, socket: Some(listener(&python)), kind: Kind::Drop(&drop) });
    assert!(text(&findings).starts_with("17 SYNs and 2 last ACKs of handshakes of curl[12] to"), "{}", text(&findings));
}

#[test]
fn datagrams_that_only_the_counter_tells_of() {
    let avahi = sample::owner("avahi", 12);
    let socket = Socket {
        proto: "udp",
        laddr: Some(IpAddr::from([0; 4])),
        lport: Some(5353),
        role: Role::Unknown,
        ..listener(&avahi)
    };
    let mut findings = Findings::default();
    let full = discard(UDP_FULL[0], 34);
    findings.event(&Event { boot_ns: 1, socket: Some(socket), kind: Kind::Discard(&full) });
    assert_eq!(text(&findings), "34 datagrams to 0.0.0.0:5353 of avahi[12] discarded: receive buffer full");
}

#[test]
fn other_counters_have_a_modest_sentence() {
    let mut findings = Findings::default();
    let missed = Discard { iface: Some("eth0".into()), ..discard("rx_missed", 5) };
    findings.event(&Event { boot_ns: 1, socket: None, kind: Kind::Discard(&missed) });
    assert_eq!(text(&findings), "5 packets discarded (rx_missed of eth0)");
    let look = findings.all().remove(0).look;
    assert_eq!(look, ["ip -s link show dev eth0", "ethtool -S eth0", "tracer explain rx_missed"]);
    let mut one = Findings::default();
    one.event(&Event { boot_ns: 1, socket: None, kind: Kind::Discard(&discard("conntrack_drop", 1)) });
    assert_eq!(text(&one), "1 packet discarded (conntrack_drop)");
    assert_eq!(one.all().remove(0).look.first().map(AsRef::as_ref), Some("conntrack -S"));
}

#[test]
fn a_table_of_conntrack_that_is_full_is_named_with_its_limit() {
    let host = Socket { conn: ConnId::NONE, netns: Some(7), owner: None, ..sample::SOCKET };
    for (table, name) in [
        (Some((95, 100)), "conntrack_full"),
        (Some((262_144, 262_144)), "conntrack_full"),
        // Conntrack drops for other reasons, too.
        (Some((94, 100)), "discarded"),
        (Some((0, 0)), "discarded"),
        (None, "discarded"),
    ] {
        let mut findings = Findings::default();
        let counted = Discard { conntrack: table, ..discard("conntrack_drop", 12) };
        let said = findings.event(&Event { boot_ns: 1, socket: Some(host), kind: Kind::Discard(&counted) });
        let said = said.map(|finding| (finding.name, finding.text)).unwrap_or_default();
        assert_eq!(said.0, name, "{table:?}: {}", said.1);
        if let ("conntrack_full", Some((count, most))) = (name, table) {
            assert_eq!(said.1, format!("the conntrack table is full ({count} of {most}): 12 packets dropped"));
        }
    }
    // Its other counters are no evidence for that.
    let mut findings = Findings::default();
    let counted = Discard { conntrack: Some((100, 100)), ..discard("conntrack_early_drop", 12) };
    let said = findings.event(&Event { boot_ns: 1, socket: Some(host), kind: Kind::Discard(&counted) });
    assert_eq!(said.map(|finding| finding.name), Some("discarded"));
}
