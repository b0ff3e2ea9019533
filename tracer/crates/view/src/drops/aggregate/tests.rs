use std::rc::Rc;

use super::*;
use tracer_stream::{ConnId, Direction, DropClass, PacketEnds, Stack, sample};

pub(crate) fn owner(pid: u32) -> Owner {
    sample::owner("curl", pid)
}

pub(crate) fn socket(owner: Option<&Owner>) -> Socket<'_> {
    Socket { conn: ConnId(7), rport: Some(5432), owner, ..sample::SOCKET }
}

pub(crate) fn packet(reason: Option<&str>, class: DropClass, sport: u16, count: u64) -> Drop {
    Drop {
        reason: reason.map(Rc::from),
        reason_id: reason.map(|_| 11),
        class,
        location: Some(0xffff_ffff_8100_0010),
        symbol: Some("nft_do_chain+0x10".into()),
        iface: Some("eth0".into()),
        ends: Some(PacketEnds { saddr: sample::NEAR, sport: Some(sport), daddr: sample::FAR, dport: Some(5432) }),
        count,
        ..sample::dropped()
    }
}

pub(crate) fn tell(aggregate: &mut Aggregate, boot_ns: u64, drop: &Drop, socket: Option<Socket<'_>>) {
    aggregate.event(&Event { boot_ns, socket, kind: Kind::Drop(drop) });
}

const POLICY: Option<&str> = Some("NETFILTER_DROP");

fn counts(aggregate: &Aggregate, order: Order) -> Vec<u64> {
    aggregate.rows(order).iter().map(|row| row.count).collect()
}

/// Makes 5 packets of 2 processes, 3 flows, 2 reasons, 2 locations.
fn told(by: &[Part]) -> Aggregate {
    let mut aggregate = Aggregate::new(By::new(by), true);
    let (first, second) = (owner(1), owner(2));
    for (at, reason, sport, whose) in [
        (10, POLICY, 1, &first),
        (11, POLICY, 1, &first),
        (12, POLICY, 2, &first),
        (13, POLICY, 3, &second),
        (14, Some("NO_SOCKET"), 3, &second),
    ] {
        let mut drop = packet(reason, DropClass::Policy, sport, 1);
        if at == 14 {
            drop.location = Some(1);
        }
        tell(&mut aggregate, at, &drop, Some(socket(Some(whose))));
    }
    aggregate
}

#[test]
fn rows_are_told_apart_by_what_is_asked_for() {
    for (by, expected) in [
        (&Part::ALL[..], &[2, 1, 1, 1][..]),
        (&[Part::Reason], &[4, 1]),
        (&[Part::Location], &[4, 1]),
        (&[Part::Owner], &[3, 2]),
        (&[Part::Flow], &[2, 2, 1]),
        (&[Part::Reason, Part::Owner], &[3, 1, 1]),
    ] {
        let aggregate = told(by);
        assert_eq!(counts(&aggregate, Order::Count), expected, "{by:?}");
        assert_eq!((aggregate.packets(), aggregate.len()), (5, expected.len()));
        for row in aggregate.rows(Order::Count) {
            assert_eq!(row.key.reason.is_some(), by.contains(&Part::Reason));
            assert_eq!(row.key.location.is_some(), by.contains(&Part::Location));
            assert_eq!(row.owner.is_some(), by.contains(&Part::Owner), "no owner that not all of them have");
            assert_eq!(row.key.flow.is_some(), by.contains(&Part::Flow));
        }
    }
}

#[test]
fn a_row_says_what_its_packets_share() {
    let mut aggregate = Aggregate::new(By::new(&[Part::Reason]), true);
    let whose = owner(1);
    let drop = packet(POLICY, DropClass::Policy, 1, 1);
    tell(&mut aggregate, 10, &drop, Some(socket(Some(&whose))));
    let row = aggregate.rows(Order::Count)[0];
    assert_eq!((row.len.0, row.iface.0.as_deref(), row.conn.0), (Some(60), Some("eth0"), Some(ConnId(7))));
    // A fold has only the size of its first packet.
    let folded = Drop { count: 100, first_ns: 5, iface: Some("eth1".into()), ..drop.clone() };
    tell(&mut aggregate, 20, &folded, Some(socket(Some(&whose))));
    tell(&mut aggregate, 30, &drop, None);
    let row = aggregate.rows(Order::Count)[0];
    assert_eq!((row.count, row.first_ns, row.last_ns), (102, 5, 30));
    assert_eq!((row.len.0, row.tcp_flags.0, row.seq.0), (None, None, None));
    assert_eq!((row.iface.0.as_deref(), row.conn.0, row.socket.0, row.role.0), (None, None, None, None));
    assert_eq!((row.direction.0, row.reason_id.0), (Some(Direction::Out), Some(11)));
}

#[test]
fn without_reasons_the_call_site_stands_for_them() {
    let mut aggregate = Aggregate::new(By::new(&[Part::Reason]), true);
    tell(&mut aggregate, 1, &packet(None, DropClass::Loss, 1, 1), None);
    let row = aggregate.rows(Order::Count)[0];
    assert_eq!(row.key.reason.as_ref().map(|reason| &*reason.name), Some("nft_do_chain+0x10"));
    assert_eq!((&row.reason.0, row.reason_id.0), (&None, None));
}

#[test]
fn one_reason_that_means_two_things_is_two_rows() {
    let mut aggregate = Aggregate::new(By::new(&[Part::Reason]), true);
    for (class, count) in [(DropClass::Refused, 1), (DropClass::Teardown, 2)] {
        tell(&mut aggregate, 1, &packet(Some("NO_SOCKET"), class, 1, count), None);
    }
    assert_eq!(counts(&aggregate, Order::Count), [2, 1]);
}

#[test]
fn what_nobody_misses_is_counted_all_the_same() {
    let mut aggregate = Aggregate::new(By::new(&Part::ALL), false);
    tell(&mut aggregate, 1, &packet(Some("NO_SOCKET"), DropClass::Teardown, 1, 30), None);
    tell(&mut aggregate, 1, &packet(POLICY, DropClass::Policy, 1, 2), None);
    aggregate.event(&Event { boot_ns: 2, socket: None, kind: Kind::Lost { class: "drop", count: 4 } });
    aggregate.event(&Event { boot_ns: 2, socket: None, kind: Kind::Lost { class: "lifecycle", count: 8 } });
    assert_eq!((aggregate.packets(), aggregate.hides_quiet(), aggregate.lost(), aggregate.len()), (2, true, 4, 1));
}

#[test]
fn flows_that_cannot_be_told_apart_are_one_row() {
    let mut aggregate = Aggregate::new(By::new(&Part::ALL), true);
    for sport in [1, 2] {
        let drop = Drop { mixed: true, ends: None, protocol: None, ..packet(POLICY, DropClass::Policy, sport, 50) };
        tell(&mut aggregate, 1, &drop, None);
    }
    let rows = aggregate.rows(Order::Count);
    assert_eq!((rows.len(), rows[0].count, rows[0].key.flow), (1, 100, Some(Flow::Mixed)));
}

#[test]
fn the_same_addresses_in_another_namespace_are_another_flow() {
    let mut aggregate = Aggregate::new(By::new(&[Part::Flow]), true);
    let drop = packet(POLICY, DropClass::Policy, 1, 1);
    for netns in [Some(1), Some(2), None] {
        tell(&mut aggregate, 1, &drop, Some(Socket { netns, ..socket(None) }));
    }
    assert_eq!(aggregate.len(), 3);
}

#[test]
fn the_first_stack_is_kept() {
    let mut aggregate = Aggregate::new(By::new(&Part::ALL), true);
    let known = |name: &str| Stack::Known([Rc::from(name)].into());
    for stack in [Stack::Missing, known("a+0x1"), known("b+0x1"), Stack::Missing] {
        tell(&mut aggregate, 1, &Drop { stack, ..packet(POLICY, DropClass::Policy, 1, 1) }, None);
    }
    assert_eq!(aggregate.rows(Order::Count)[0].stack, known("a+0x1"));
}

#[test]
fn rows_in_order() {
    let mut aggregate = Aggregate::new(By::new(&[Part::Flow]), true);
    tell(&mut aggregate, 1, &packet(POLICY, DropClass::Policy, 1, 1000), None);
    tell(&mut aggregate, 2, &packet(POLICY, DropClass::Policy, 2, 500), None);
    aggregate.refresh();
    tell(&mut aggregate, 3, &packet(POLICY, DropClass::Policy, 2, 5), None);
    tell(&mut aggregate, 4, &packet(POLICY, DropClass::Policy, 3, 1), None);
    assert_eq!((aggregate.recent(), aggregate.packets()), (6, 1506));
    assert_eq!(counts(&aggregate, Order::Rate), [505, 1, 1000]);
    assert_eq!(counts(&aggregate, Order::Count), [1000, 505, 1]);
    assert_eq!(counts(&aggregate, Order::Last), [1, 505, 1000]);
}

#[test]
fn too_many_rows_become_one_for_each_reason() {
    let mut aggregate = Aggregate::new(By::new(&Part::ALL), true);
    let first = packet(POLICY, DropClass::Policy, 1, 1);
    tell(&mut aggregate, 1, &first, None);
    let mut told = 1;
    for sport in 2..=30_000 {
        let reason = if sport % 3 == 0 { Some("NO_SOCKET") } else { POLICY };
        tell(&mut aggregate, sport.into(), &packet(reason, DropClass::Policy, sport, 2), None);
        // The first flow is seen again and again, so its row is never merged.
        tell(&mut aggregate, sport.into(), &first, None);
        told += 3;
        assert!(aggregate.len() <= MOST_ROWS + 2);
    }
    let rows = aggregate.rows(Order::Count);
    assert_eq!(aggregate.packets(), told);
    assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), told, "every packet is in one row");
    let others: Vec<&&Row> = rows.iter().filter(|row| row.is_other).collect();
    assert_eq!(others.len(), 2);
    for other in others {
        assert!(other.key.reason.is_some() && other.key.flow.is_none() && other.owner.is_none());
        // The last 9000 stay separate.
        assert!(other.last_ns <= 21_001, "{}", other.last_ns);
    }
    let of_first = |row: &&&Row| row.key == Key::of(By::new(&Part::ALL), &first, None);
    assert_eq!(rows.iter().find(of_first).map(|row| row.count), Some(30_000));
}
