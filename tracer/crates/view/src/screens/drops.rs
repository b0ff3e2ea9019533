use super::{EVIL, compare, same};
use crate::clock::WallClock;
use crate::drops::aggregate::tests::{owner, packet, socket, tell};
use crate::drops::{Aggregate, By, DropsSink, Order, Part, Shape, TableOptions};
use crate::summary::Summary;
use crate::terminal::{Columns, Size};
use tracer_stream::{Drop, DropClass, Event, Kind, Owner, PacketEnds, Sink as _, Stack, sample};

fn aggregate(parts: &[Part]) -> Aggregate {
    let mut aggregate = Aggregate::new(By::new(parts), true);
    let whose = Owner { comm: EVIL.into(), ..owner(4121) };
    let policy = packet(Some("NETFILTER_DROP"), DropClass::Policy, 40_000, 1204);
    tell(&mut aggregate, 8, &policy, Some(socket(Some(&whose))));
    let frames = ["nft_do_chain+0x10", "nf_hook_slow+0x3f", "ip_local_deliver+0x5f", "ip_rcv+0x8c"].map(Into::into);
    let udp = Drop {
        protocol: Some("udp"),
        symbol: Some("__udp4_lib_rcv+0x1f".into()),
        stack: Stack::Known(frames.into()),
        ..packet(Some("NO_SOCKET"), DropClass::Refused, 9, 3)
    };
    tell(&mut aggregate, 6, &udp, None);
    let [near, far] = ["2001:db8:1234:5678:9abc:def0:1234:5678", "2001:db8::1"].map(|addr| addr.parse().ok());
    if let (Some(saddr), Some(daddr)) = (near, far) {
        let ends = Some(PacketEnds { saddr, sport: Some(40_001), daddr, dport: Some(5432) });
        let six = Drop { ends, ..packet(Some("TCP_OLD_DATA"), DropClass::Teardown, 1, 30) };
        tell(&mut aggregate, 7, &six, Some(socket(Some(&owner(4_194_303)))));
    }
    let discard = sample::discarded();
    let nginx = owner(80);
    let listener = tracer_stream::Socket { raddr: None, rport: None, owner: Some(&nginx), ..sample::SOCKET };
    aggregate.event(&Event { boot_ns: 9, socket: Some(listener), kind: Kind::Discard(&discard) });
    aggregate.event(&Event { boot_ns: 9, socket: None, kind: Kind::Lost { class: "drop", count: 4000 } });
    aggregate
}

fn shown(parts: &[Part], options: TableOptions, draw: Option<Size>) -> String {
    let clock = WallClock { offset_ns: 0 };
    let shape = Shape::Table(TableOptions { utc: true, ..options });
    let mut sink = DropsSink::new(Vec::new(), aggregate(parts), shape, Order::Count, clock, 0);
    match draw {
        Some(size) => sink.draw(1_500_000_000, size),
        None => sink.finish(10_000_000_000, None, &Summary::default()),
    }
    String::from_utf8_lossy(&sink.into_inner()).into_owned()
}

#[test]
fn at_the_end() {
    compare("drops", |columns| shown(&Part::ALL, TableOptions { columns, ..TableOptions::default() }, None));
}

#[test]
fn redrawn() {
    compare("drops_drawn", |columns| {
        shown(&Part::ALL, TableOptions::default(), Some(Size { lines: 9, columns: columns.get() }))
    });
}

#[test]
fn by_fewer_parts() {
    for (name, parts) in
        [("drops_by_reason_and_owner", &[Part::Reason, Part::Owner][..]), ("drops_by_flow", &[Part::Flow])]
    {
        compare(name, |columns| shown(parts, TableOptions { columns, ..TableOptions::default() }, None));
    }
}

#[test]
fn wide() {
    let options = TableOptions { wide: true, columns: Columns::new(80), ..TableOptions::default() };
    same("drops_wide", &shown(&Part::ALL, options, None));
}
