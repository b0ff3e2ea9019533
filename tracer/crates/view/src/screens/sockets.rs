use super::{EVIL, compare, same};
use crate::sockets::{Shown, TableOptions, TextRows, write_tree};
use crate::terminal::Columns;
use tracer_host::proc::fd_scan::Scan;
use tracer_host::proc::netns::Netns;
use tracer_host::proc::root::ProcRoot;
use tracer_host::sockets::collect::Picture;
use tracer_host::sockets::owners::Owners;
use tracer_host::sockets::proto::{Proto, State};
use tracer_host::sockets::row::{Inet, Kind, Netlink, Packet, Row, Tcp, Unix};
use tracer_host::sockets::watch::Change;

const OWN: u32 = 4_026_531_840;
const OTHER: u32 = 4_026_532_000;

fn row(proto: Proto, state: State, inode: u64, kind: Kind) -> Row {
    Row { proto, state, netns: OWN, inode, cookie: None, uid: Some(1000), recv_q: 0, send_q: 0, kind }
}

fn inet(family: u8, laddr: [u8; 16], lport: u16, raddr: [u8; 16], rport: u16) -> Inet {
    let words = |bytes: [u8; 16]| {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_ne_bytes(*bytes);
        }
        words
    };
    let (laddr, raddr) = (words(laddr), words(raddr));
    Inet { family, laddr, lport, raddr, rport, ifindex: 0, v6only: None, tcp: None }
}

fn four(octets: [u8; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&octets);
    bytes
}

fn six(text: &str) -> [u8; 16] {
    text.parse().map(|addr: std::net::Ipv6Addr| addr.octets()).unwrap_or_default()
}

fn picture() -> Picture {
    let any = four([0; 4]);
    let near = four([192, 168, 100, 101]);
    let tcp = Tcp { srtt_us: Some(850), cwnd: Some(10), tx_bytes: Some(1_234_567), ..Tcp::default() };
    let connected = Inet { tcp: Some(Box::new(tcp)), ..inet(4, near, 40_000, four([192, 168, 100, 102]), 65_443) };
    let long = inet(6, six("2001:db8:1234:5678:9abc:def0:1234:5678"), 40_001, six("2001:db8::1"), 443);
    let wildcard = Inet { v6only: Some(false), ..inet(6, [0; 16], 80, [0; 16], 0) };
    let path = Some(format!("/run/user/1000/{EVIL}/a-rather-long-directory/socket"));
    let mut rows = vec![
        Row { recv_q: 129, send_q: 128, ..row(Proto::Tcp, State::Listen, 11, Kind::Inet(inet(4, any, 22, any, 0))) },
        row(Proto::Tcp, State::Listen, 12, Kind::Inet(wildcard)),
        Row { recv_q: 12_345_678, ..row(Proto::Tcp, State::Established, 13, Kind::Inet(connected)) },
        row(Proto::Tcp, State::CloseWait, 14, Kind::Inet(long)),
        row(Proto::Tcp, State::TimeWait, 0, Kind::Inet(inet(4, near, 1, four([10, 0, 0, 1]), 2))),
        row(Proto::Udp, State::Unconn, 15, Kind::Inet(inet(4, four([127, 0, 0, 53]), 53, any, 0))),
        row(Proto::Unix, State::Listen, 16, Kind::Unix(Box::new(Unix { kind: 1, path, peer: None }))),
        row(Proto::Packet, State::Unconn, 17, Kind::Packet(Packet { kind: 3, protocol: 3, ifindex: 2 })),
        row(Proto::Netlink, State::Unconn, 18, Kind::Netlink(Netlink { protocol: 0, portid: 4121, groups: 0x11 })),
    ];
    rows.push(Row { netns: OTHER, ..rows[0].clone() });
    let scan = Scan::sample(&[
        (1, "systemd", &[11, 12]),
        (812, "sshd", &[11]),
        (4_194_303, "a-long-name-of-", &[13, 15]),
        (666, EVIL, &[14, 16, 17, 18]),
    ]);
    let nowhere = ProcRoot::new("/there/is/no/such/directory");
    let netns = Netns { inode: OTHER, name: Some(EVIL.to_owned()), pid: None, path: None };
    Picture {
        owners: Owners::new(&nowhere, scan, &rows, false),
        namespaces: [(OTHER, netns)].into(),
        devices: [((OWN, 2), "eth0".to_owned())].into(),
        own_netns: Some(OWN),
        rows,
        ..Picture::default()
    }
}

fn table(options: TableOptions) -> String {
    let picture = picture();
    let mut rows = TextRows::new(options);
    let mut out = Vec::new();
    rows.header(&mut out);
    let changes = [Change::Appeared, Change::Changed, Change::Vanished].map(Some).into_iter().cycle();
    for ((row, number), change) in picture.rows.iter().zip(1..).zip(changes) {
        let change = change.filter(|_| options.marks);
        rows.write(&mut out, &Shown { picture: &picture, row, number, change });
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn all_kinds() {
    compare("sockets", |columns| table(TableOptions { columns, ..TableOptions::default() }));
}

#[test]
fn what_changed() {
    compare("sockets_watch", |columns| table(TableOptions { columns, marks: true, ..TableOptions::default() }));
}

#[test]
fn wide() {
    same("sockets_wide", &table(TableOptions { wide: true, columns: Columns::new(80), ..TableOptions::default() }));
}

#[test]
fn by_process() {
    let picture = picture();
    let shown: Vec<u32> = (0..).take(picture.rows.len()).collect();
    compare("sockets_tree", |columns| {
        let mut out = Vec::new();
        let rows = TextRows::new(TableOptions { columns, ..TableOptions::default() });
        write_tree(&mut out, &picture, &shown, &rows);
        String::from_utf8_lossy(&out).into_owned()
    });
}
