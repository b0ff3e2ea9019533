use serde_json::{Value, json};

use super::aggregate::tests::{owner, packet, socket, tell};
use super::*;
use crate::escape;
use tracer_stream::{Drop, DropClass, Kind, Owner, Stack};

const END: u64 = 10_000_000_000;
const POLICY: Option<&str> = Some("NETFILTER_DROP");

fn sample(parts: &[Part], quiet: bool) -> Aggregate {
    let mut aggregate = Aggregate::new(By::new(parts), quiet);
    let whose = Owner { comm: "evil\x1b[2J".into(), ..owner(4121) };
    tell(&mut aggregate, 5, &packet(POLICY, DropClass::Policy, 40_000, 1), Some(socket(Some(&whose))));
    tell(&mut aggregate, 8, &packet(POLICY, DropClass::Policy, 40_000, 1203), Some(socket(Some(&whose))));
    let udp = Drop { protocol: Some("udp"), ..packet(Some("NO_SOCKET"), DropClass::Refused, 9, 3) };
    tell(&mut aggregate, 6, &udp, None);
    tell(&mut aggregate, 6, &packet(Some("NO_SOCKET"), DropClass::Teardown, 10, 30), None);
    aggregate
}

fn sink(aggregate: Aggregate, shape: Shape) -> DropsSink<Vec<u8>> {
    DropsSink::new(Vec::new(), aggregate, shape, Order::Rate, WallClock { offset_ns: 0 }, 0)
}

fn finished(aggregate: Aggregate, options: TableOptions, size: Option<Size>) -> String {
    let mut sink = sink(aggregate, Shape::Table(options));
    sink.finish(END, size, &Summary::default());
    String::from_utf8(sink.into_inner()).unwrap_or_default()
}

#[test]
fn one_table_at_the_end() {
    let expected = "\
1,207 packets dropped in 10.0s, 120/s, in 2 rows; nothing lost; harmless ones with --all
  PACKETS      /S REASON             LOCATION         OWNER           FLOW
    1,204     120 NETFILTER_DROP     nft_do_chain     evil\\x1b…[4121] tcp  :40000 → 10.0.0.5:5432
        3     0.3 NO_SOCKET          nft_do_chain     -               udp  :9 → 10.0.0.5:5432
";
    assert_eq!(finished(sample(&Part::ALL, false), TableOptions::default(), None), expected);
    let expected = "\
1,237 packets dropped in 10.0s, 123/s, in 3 rows; nothing lost
  PACKETS      /S REASON
    1,204     120 NETFILTER_DROP
       30     3.0 NO_SOCKET
        3     0.3 NO_SOCKET
";
    assert_eq!(finished(sample(&[Part::Reason], true), TableOptions::default(), None), expected);
    let nothing = Aggregate::new(By::new(&Part::ALL), false);
    assert_eq!(
        finished(nothing, TableOptions::default(), None),
        "0 packets dropped in 10.0s; nothing lost; harmless ones with --all\n"
    );
}

#[test]
fn with_fewer_parts_there_is_more_room() {
    let text = finished(sample(&[Part::Owner, Part::Flow], false), TableOptions::default(), None);
    assert!(text.contains("evil\\x1b…[4121] tcp  10.0.0.1:40000 → 10.0.0.5:5432\n"), "{text}");
}

#[test]
fn wide_lines_have_everything() {
    let options = TableOptions { wide: true, ..TableOptions::default() };
    let text = finished(sample(&Part::ALL, false), options, None);
    let line = text.lines().nth(2).unwrap_or_default();
    for part in ["nft_do_chain+0x10", "evil\\x1b[2J[4121]", "10.0.0.1:40000 → 10.0.0.5:5432", " policy out dev=eth0"]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(line.ends_with("netns=4026531840 uid=1000"), "{line}");
}

#[test]
fn a_narrow_terminal_has_every_cell() {
    let mut sink = sink(sample(&Part::ALL, false), Shape::Table(TableOptions::default()));
    sink.draw(1_000_000_000, Size { lines: 24, columns: 80 });
    let text = String::from_utf8(sink.into_inner()).unwrap_or_default();
    let expected = "    1,204   1,204 NETFILTER_… nft_do_… evi…[4121] tcp  :40000 → 10.0.0.5:5432\n";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn losses_are_loud() {
    let mut aggregate = sample(&Part::ALL, true);
    aggregate.event(&Event { boot_ns: 2, socket: None, kind: Kind::Lost { class: "drop", count: 4000 } });
    let text = finished(aggregate, TableOptions::default(), None);
    assert!(text.contains("; LOST 4,000\n"), "{text}");
}

#[test]
fn rows_that_do_not_fit_are_counted() {
    let mut aggregate = Aggregate::new(By::new(&Part::ALL), false);
    for sport in 1..=100 {
        tell(&mut aggregate, sport.into(), &packet(POLICY, DropClass::Policy, sport, 2), None);
    }
    let size = Some(Size { lines: 10, columns: 60 });
    let text = finished(aggregate, TableOptions::default(), size);
    assert_eq!(text.lines().count(), 10);
    assert!(text.ends_with("\nand 93 more rows with 186 packets: --rows N, or --json, shows them\n"), "{text}");
    let mut aggregate = Aggregate::new(By::new(&Part::ALL), false);
    for sport in 1..=100 {
        tell(&mut aggregate, sport.into(), &packet(POLICY, DropClass::Policy, sport, 2), None);
    }
    let text = finished(aggregate, TableOptions { rows: Some(50), ..TableOptions::default() }, size);
    assert_eq!(text.lines().count(), 53, "rows that were asked for");
}

#[test]
fn drawn_again_in_its_place() {
    let options = TableOptions { color: true, utc: true, ..TableOptions::default() };
    let mut sink = sink(sample(&Part::ALL, false), Shape::Table(options));
    let size = Size { lines: 6, columns: 80 };
    sink.draw(1_000_000_000, size);
    let first = String::from_utf8_lossy(&std::mem::take(sink.output.line())).into_owned();
    assert_eq!(first, "", "it is written at once");
    sink.draw(3_000_000_000, size);
    sink.finish(END, Some(size), &Summary::default());
    let text = String::from_utf8(sink.into_inner()).unwrap_or_default();
    let tables: Vec<&str> = text.split("\x1b[5F\x1b[J").collect();
    assert_eq!(tables.len(), 3, "{text:?}");
    assert!(tables[0].starts_with("00:00:01.000  1,207 packets dropped, 1,207/s, in 2 rows"), "{text}");
    assert!(tables[1].starts_with("00:00:03.000  1,207 packets dropped, 0/s, in 2 rows"), "{text}");
    assert!(tables[2].starts_with("1,207 packets dropped in 10.0s, 120/s, in 2 rows"), "{text}");
    assert!(tables[1].contains(" 0 \x1b[33mNETFILTER_…\x1b[0m"), "{text:?}");
    for line in tables[0].lines().chain(tables[1].lines()) {
        let plain: String = line.split("\x1b[33m").flat_map(|part| part.split("\x1b[31m")).collect();
        let plain = plain.replace("\x1b[0m", "");
        assert!(escape::width(&plain) <= 80, "{plain}");
    }
}

#[test]
fn a_table_never_is_higher_than_the_terminal() {
    let stack = Stack::Known((0..30).map(|n| format!("function_number_{n}+0x10").into()).collect());
    let mut aggregate = Aggregate::new(By::new(&Part::ALL), false);
    for sport in 1..=20 {
        let drop = Drop { stack: stack.clone(), ..packet(POLICY, DropClass::Policy, sport, 2) };
        tell(&mut aggregate, sport.into(), &drop, None);
    }
    let mut sink = sink(aggregate, Shape::Table(TableOptions::default()));
    for lines in [1, 2, 3, 4, 10, 12, 24, 100, 500] {
        for columns in [20, 80, 200] {
            sink.draw(1, Size { lines, columns });
            let (_, drawn) = sink.drawn.unwrap_or_default();
            assert!(drawn < lines.max(3), "{drawn} lines of {lines}");
        }
    }
}

#[test]
fn rows_as_objects() {
    let mut sink = sink(sample(&Part::ALL, true), Shape::Json);
    sink.finish(END, None, &Summary::default());
    let text = String::from_utf8(sink.into_inner()).unwrap_or_default();
    let rows: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(rows.len(), 4, "{text}");
    let expected = json!({
        "v": 1, "event": "drop", "time": "1970-01-01T00:00:00.000000008Z", "boot_ns": 8,
        "count": 1204, "first": "1970-01-01T00:00:00.000000001Z", "last": "1970-01-01T00:00:00.000000008Z",
        "first_boot_ns": 1,
        "reason": "NETFILTER_DROP", "reason_id": 11, "class": "policy",
        "location": "0xffffffff81000010", "symbol": "nft_do_chain+0x10", "iface": "eth0", "direction": "out",
        "protocol": "tcp", "saddr": "10.0.0.1", "sport": 40000, "daddr": "10.0.0.5", "dport": 5432,
        "conn": "7", "proto": "tcp", "family": 4, "laddr": "10.0.0.1", "lport": 40000, "raddr": "10.0.0.5",
        "rport": 5432, "netns": 4_026_531_840_u32, "role": "client",
        "owner": {"pid": 4121, "tid": 4121, "comm": "evil\x1b[2J", "exe": null, "uid": 1000, "cgroup": null,
                  "container": null, "unit": null, "start_ns": 4121},
        "owner_source": "connect",
    });
    assert_eq!(rows[0], expected);
    assert_eq!(rows[1]["class"], "teardown", "quiet drops are rows as well");
    assert_eq!((&rows[2]["owner"], &rows[2]["conn"]), (&Value::Null, &Value::Null));
    assert_eq!(rows[3]["event"], "summary");
}

#[test]
fn objects_have_no_key_that_was_not_asked_for() {
    let mut sink = sink(sample(&[Part::Reason], true), Shape::Json);
    sink.finish(END, None, &Summary::default());
    let text = String::from_utf8(sink.into_inner()).unwrap_or_default();
    let row: Value = text.lines().next().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    assert_eq!(row["reason"], "NETFILTER_DROP");
    for key in ["location", "symbol", "owner", "owner_source", "saddr", "laddr", "protocol", "stack"] {
        assert!(row.get(key).is_none(), "{key}: {row}");
    }
}
