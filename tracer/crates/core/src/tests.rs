//! The core with made-up records: the events, and that they are always the same.

#![expect(clippy::unwrap_used, reason = "a test")]

use tracer_common::{
    decode::Record,
    identity::of_address,
    record::{
        COUNTERS_HAS_SOCKET, COUNTERS_KNOWN, COUNTERS_SOCKET_KNOWN, CloseRecord, FLAG_ACCEPTED, FLAG_ESTABLISHED_HELD,
        FLAG_PREEXISTING, Header, Opener, RECORD_VERSION, RecordKind, RecordRole, SocketRecord, SocketState,
        TcpCounters, TcpLimits, Tuple,
    },
    tcp::TcpState,
};
use tracer_stream::Socket;

use super::{
    question::{Answer, Found},
    *,
};

/// Passes everything, or only the connections of one process.
#[derive(Clone, Copy)]
pub(super) struct Only(pub(super) Option<u32>);

impl Gate for Only {
    fn admit(&self, socket: &Socket<'_>) -> Admission {
        use tracer_stream::OwnerSource;
        match (self.0, socket.owner) {
            (None, _) => Admission::Pass,
            (Some(_), _) if matches!(socket.owner_source, OwnerSource::Listener | OwnerSource::Unknown) => {
                Admission::Undecided
            }
            (Some(pid), Some(owner)) if owner.pid == pid => Admission::Pass,
            _ => Admission::Reject,
        }
    }
    fn admit_finally(&self, socket: &Socket<'_>) -> bool {
        self.0.is_none_or(|pid| socket.owner.is_some_and(|owner| owner.pid == pid))
    }
    fn shows(&self, _: &Kind<'_>) -> bool {
        true
    }
    fn feeds_findings(&self, _: &Kind<'_>) -> bool {
        true
    }
    fn shows_processes_only(&self) -> bool {
        false
    }
    fn fork(&mut self, _: u32, _: u32, _: u64) {}
    fn exit(&mut self, _: u32) {}
    fn namespace(&mut self, _: NamespaceChange) {}
}

#[derive(Default)]
pub(super) struct Said(pub(super) Vec<String>);

impl Sink for Said {
    fn event(&mut self, event: &Event<'_>) {
        let what = match event.kind {
            Kind::Close(close) => format!("close {}{}", close.verdict.name(), if close.incomplete { "?" } else { "" }),
            other => other.name().to_owned(),
        };
        let whose = event.socket.map_or(String::new(), |socket| {
            let owner = socket.owner.map_or("nobody".to_owned(), |owner| owner.pid.to_string());
            format!(" {} {owner} {}", socket.conn.0, socket.owner_source.name())
        });
        self.0.push(format!("{} {what}{whose}", event.boot_ns));
    }
}

pub(super) fn tuple(lport: u16, rport: u16) -> Tuple {
    let localhost = [u32::from_be(0x7f00_0001), 0, 0, 0];
    Tuple {
        laddr: localhost,
        raddr: if rport == 0 { [0; 4] } else { localhost },
        lport,
        rport,
        family: 4,
        reserved: [0; 3],
        netns: 1,
        ifindex: 0,
    }
}

pub(super) fn record(
    kind: RecordKind,
    at: u64,
    id: u64,
    role: RecordRole,
    flags: u16,
    pid: u32,
    tuple: Tuple,
) -> SocketRecord {
    let opener = Opener {
        pid,
        tid: pid,
        uid: 0,
        real_uid: 0,
        start_ns: u64::from(pid),
        cgroup_id: 1,
        comm: *b"test\0\0\0\0\0\0\0\0\0\0\0\0",
        process_comm: *b"test\0\0\0\0\0\0\0\0\0\0\0\0",
    };
    SocketRecord {
        header: Header { kind: kind as u8, version: RECORD_VERSION, reserved: [0; 6], boot_ns: at },
        state: SocketState {
            id,
            started_ns: at,
            established_ns: if kind == RecordKind::Connect { 0 } else { at },
            opener,
            role: role as u8,
            closed: 0,
            flags,
            parent: 0,
        },
        tuple,
        old: 0,
        new: 0,
        reserved: [0; 2],
        errno: 0,
        detail: 0,
    }
}

pub(super) fn close(socket: SocketRecord, old: TcpState, errno: i32) -> CloseRecord {
    CloseRecord {
        socket: SocketRecord { old: old as u8, new: TcpState::Close as u8, errno, ..socket },
        tcp: TcpCounters {
            bytes_acked: 0,
            bytes_received: 0,
            bytes_sent: 0,
            bytes_retrans: 0,
            snd_nxt: 0,
            snd_una: 0,
            write_seq: 0,
            total_retrans: 0,
            srtt_us: 0,
            min_rtt_us: 0,
            sk_err_soft: 0,
            flags: COUNTERS_KNOWN | COUNTERS_SOCKET_KNOWN | COUNTERS_HAS_SOCKET,
        },
        limits: TcpLimits::UNKNOWN,
        ending: [0; 3],
    }
}

pub(super) enum Step {
    Socket(RecordKind, SocketRecord),
    Close(CloseRecord),
}

pub(super) fn play(gate: Only, seed: Option<Seed>, steps: &[Step]) -> Vec<String> {
    let mut said = Said::default();
    let mut core = Correlation::new(gate);
    if let Some(seed) = seed {
        core.apply(Input::Seed(seed), &mut said);
    }
    for step in steps {
        let record = match step {
            Step::Socket(kind, record) => Record::Socket(*kind, record),
            Step::Close(record) => Record::Close(record),
        };
        core.apply(Input::Record(record), &mut said);
    }
    core.apply(Input::Reconciled, &mut said);
    core.apply(Input::End { boot_ns: 1000, followed: None }, &mut said);
    said.0
}

use RecordKind as K;
use RecordRole as R;

/// A listener of process 7, a connection to it from 5, accepted by 8, closed by the client.
fn ordinary() -> Vec<Step> {
    let (near, far) = (tuple(5000, 80), tuple(80, 5000));
    vec![
        Step::Socket(K::Listen, record(K::Listen, 10, 1, R::Listener, 0, 7, tuple(80, 0))),
        Step::Socket(K::Connect, record(K::Connect, 20, 2, R::Client, 0, 5, tuple(0, 80))),
        Step::Socket(K::Established, record(K::Established, 30, 2, R::Client, 0, 5, near)),
        Step::Socket(K::Established, record(K::Established, 31, 3, R::Server, 0, 0, far)),
        Step::Socket(K::Accept, record(K::Accept, 40, 3, R::Server, FLAG_ACCEPTED, 8, far)),
        Step::Close(close(record(K::Close, 50, 2, R::Client, 0, 5, near), TcpState::FinWait2, 0)),
        Step::Close(close(record(K::Close, 51, 3, R::Server, FLAG_ACCEPTED, 8, far), TcpState::LastAck, 0)),
    ]
}

#[test]
fn a_connection_from_both_ends() {
    let said = play(Only(None), None, &ordinary());
    assert_eq!(
        said,
        [
            "10 listen 1 7 listen",
            "20 connect 2 5 connect",
            "30 established 2 5 connect",
            "31 established 3 7 listener",
            "40 accept 3 8 accept",
            "50 close closed_local 2 5 connect",
            // A FIN_WAIT2 socket that still has its file was thrown away; this one is the peer's.
            "51 close closed_remote 3 8 accept",
            "1000 close open_at_end 1 7 listen",
        ]
        .map(|line| line.replace("50 close closed_local", "50 close reset_local"))
    );
}

#[test]
fn the_same_records_give_the_same_stream() {
    let once = play(Only(None), None, &ordinary());
    for _ in 0..20 {
        assert_eq!(play(Only(None), None, &ordinary()), once);
    }
}

#[test]
fn what_is_undecided_is_held_back_and_then_told_whole() {
    let far = tuple(80, 5000);
    let held = FLAG_ESTABLISHED_HELD | FLAG_ACCEPTED;
    let mut accept = record(K::Accept, 40, 3, R::Server, held, 8, far);
    accept.state.established_ns = 31;
    let steps = [
        Step::Socket(K::Accept, accept),
        Step::Close(close(record(K::Close, 51, 3, R::Server, held, 8, far), TcpState::LastAck, 0)),
    ];
    let told = ["31 established 1 8 accept", "40 accept 1 8 accept", "51 close closed_remote 1 8 accept"];
    assert_eq!(play(Only(Some(8)), None, &steps), told);
    assert_eq!(play(Only(Some(9)), None, &steps), [""; 0]);
}

#[test]
fn a_connection_reset_before_it_is_accepted_belongs_to_who_accepts_it() {
    let far = tuple(80, 5000);
    let steps = [
        Step::Socket(K::Established, record(K::Established, 31, 3, R::Server, 0, 0, far)),
        Step::Close(close(record(K::Close, 35, 3, R::Server, 0, 0, far), TcpState::Established, libc::ECONNRESET)),
        Step::Socket(K::Accept, record(K::Accept, 40, 3, R::Server, FLAG_ACCEPTED, 8, far)),
    ];
    let said = play(Only(None), None, &steps);
    assert_eq!(said.first().unwrap(), "31 established 1 nobody unknown");
    assert_eq!(said.last().unwrap(), "35 close reset_remote 1 8 accept");
    assert_eq!(said.iter().filter(|line| line.contains("close")).count(), 1);
}

#[test]
fn older_sockets_are_open_once_and_closed_once() {
    let near = tuple(5000, 80);
    let socket =
        |lport, state| SeedSocket { tuple: tuple(lport, 80), v6only: None, state, inode: 0, holders: Vec::new() };
    let seed = Seed {
        attached_ns: 5,
        before: Vec::new(),
        sockets: vec![socket(5000, TcpState::Established), socket(5001, TcpState::Established)],
        // It was connected while the snapshot was taken.
        opened_since: vec![Opened { tuple: tuple(5001, 80), listener: None }],
    };
    let steps = [
        Step::Socket(K::Connect, record(K::Connect, 20, 2, R::Client, 0, 5, tuple(5001, 80))),
        Step::Close(close(record(K::Close, 50, 9, R::Unknown, FLAG_PREEXISTING, 0, near), TcpState::LastAck, 0)),
        // It closed before the snapshot reached it.
        Step::Close(close(
            record(K::Close, 51, 10, R::Unknown, FLAG_PREEXISTING, 0, tuple(6000, 80)),
            TcpState::LastAck,
            0,
        )),
    ];
    assert_eq!(
        play(Only(None), Some(seed), &steps),
        [
            "5 open 1 nobody unknown",
            "20 connect 2 5 connect",
            "50 close closed_remote 1 nobody unknown",
            "5 open 3 nobody unknown",
            "51 close closed_remote 3 nobody unknown",
            "1000 close open_at_end 2 5 connect",
        ]
    );
}

/// Records of a kernel side that knows no network namespaces, no start times and has no accept hook.
#[test]
fn without_type_information_nothing_is_made_up() {
    let blind = |tuple: Tuple| Tuple { netns: 0, ..tuple };
    let elsewhere = |tuple: Tuple| Tuple { netns: 2, ..tuple };
    let process = |pid: u32, start_ns| ProcessSnapshot {
        pid,
        start_ns,
        comm: "p".into(),
        uid: Some(0),
        real_uid: Some(0),
        facts: tracer_stream::ProcessFacts::default(),
    };
    let older = |tuple| SeedSocket { tuple, v6only: None, state: TcpState::Established, inode: 1, holders: vec![9] };
    let mut said = Said::default();
    let mut core = Correlation::new(Only(None));
    core.apply(Input::Hooked { accept: false }, &mut said);
    core.apply(Input::Process(process(9, 1)), &mut said);
    let seed = Seed {
        attached_ns: 5,
        before: Vec::new(),
        // One of its kind, and two that differ in their namespace only.
        sockets: vec![older(tuple(4000, 80)), older(tuple(4001, 80)), older(elsewhere(tuple(4001, 80)))],
        // It came while the snapshot was taken.
        opened_since: vec![Opened { tuple: blind(tuple(80, 5000)), listener: None }],
    };
    core.apply(Input::Seed(seed), &mut said);
    let gone = |at, lport| {
        let mut record = close(
            record(
                K::Close,
                at,
                of_address(u64::from(lport) << 8),
                R::Unknown,
                FLAG_PREEXISTING,
                0,
                blind(tuple(lport, 80)),
            ),
            TcpState::LastAck,
            0,
        );
        record.tcp.flags = tracer_common::record::COUNTERS_NO_ERRNO;
        record
    };
    for record in [gone(20, 4000), gone(21, 4001)] {
        core.apply(Input::Record(Record::Close(&record)), &mut said);
    }
    assert_eq!(core.unowned(), []);
    let child = record(K::Established, 30, 3, R::Server, 0, 0, blind(tuple(80, 5000)));
    core.apply(Input::Record(Record::Socket(K::Established, &child)), &mut said);
    assert_eq!(core.unowned(), [blind(tuple(80, 5000))]);
    assert_eq!(core.unowned(), [], "asked once");
    let held =
        SeedSocket { tuple: tuple(80, 5000), v6only: None, state: TcpState::Established, inode: 7, holders: vec![9] };
    let waiting = SeedSocket { inode: 0, holders: Vec::new(), ..held.clone() };
    for (began_ns, socket, again) in [(31, waiting, true), (30, held.clone(), false), (32, held, false)] {
        core.apply(
            Input::Answer(Answer::Owners {
                processes: Vec::new(),
                holders: Holders { began_ns, sockets: vec![socket] },
            }),
            &mut said,
        );
        assert_eq!(!core.unowned().is_empty(), again, "{began_ns}");
    }
    // Emitted at once: no record of an accept will come.
    let mut end = close(child, TcpState::Established, 0);
    end.socket.header.boot_ns = 40;
    core.apply(Input::Record(Record::Close(&end)), &mut said);
    core.apply(Input::End { boot_ns: 1000, followed: None }, &mut said);
    assert_eq!(
        said.0,
        [
            "5 open 1 9 fd",
            "5 open 2 9 fd",
            "5 open 3 9 fd",
            "20 close unknown 1 9 fd",
            // Which of the two it was is unknown.
            "5 open 4 nobody unknown",
            "21 close unknown 4 nobody unknown",
            "30 established 5 nobody unknown",
            "40 close reset_local 5 9 fd",
            "1000 close unknown? 2 9 fd",
            "1000 close unknown? 3 9 fd",
        ]
    );
}

#[test]
fn a_process_without_a_start_is_who_had_the_number_then() {
    let start = |start_ns| ProcessSnapshot {
        pid: 5,
        start_ns,
        comm: "p".into(),
        uid: Some(0),
        real_uid: Some(0),
        facts: tracer_stream::ProcessFacts { exe: Some("/p".into()), ..Default::default() },
    };
    let mut connect = record(K::Connect, 2_000_000_000, 2, R::Client, 0, 5, tuple(0, 80));
    connect.state.opener.start_ns = 0;
    let exe_of = |input: Option<ProcessSnapshot>| {
        let mut seen = Exe(None);
        let mut core = Correlation::new(Only(None));
        core.apply(Input::Process(start(1_000_000_000)), &mut seen);
        let [asked, ..] = core.before(&Record::Socket(K::Connect, &connect));
        assert!(matches!(asked, Some(Question::Process { pid: 5, start_ns: 0, known: false })), "always asked for");
        match input {
            Some(process) => core.apply(Input::Process(process), &mut seen),
            None => core.apply(Input::Answer(Answer::Process { pid: 5, start_ns: 0, found: Found::Gone }), &mut seen),
        }
        core.apply(Input::Record(Record::Socket(K::Connect, &connect)), &mut seen);
        seen.0
    };
    assert_eq!(exe_of(Some(start(1_000_000_000))).as_deref(), Some("/p"));
    assert_eq!(exe_of(Some(start(3_000_000_000))), None, "younger than the connection");
    assert_eq!(exe_of(None), None, "gone");
}

/// The executable of the last owner.
struct Exe(Option<String>);

impl Sink for Exe {
    fn event(&mut self, event: &Event<'_>) {
        self.0 = event.socket.and_then(|socket| socket.owner).and_then(|owner| owner.facts.exe.clone());
    }
}

#[test]
fn a_close_that_was_lost_is_not_said_to_be_open() {
    let near = tuple(5000, 80);
    let mut said = Said::default();
    let mut core = Correlation::new(Only(None));
    for id in [2, 3] {
        let record = record(K::Connect, 20, id, R::Client, 0, 5, near);
        core.apply(Input::Record(Record::Socket(K::Connect, &record)), &mut said);
    }
    core.apply(Input::End { boot_ns: 1000, followed: Some(HashSet::from([3])) }, &mut said);
    assert_eq!(said.0[2..], ["1000 close unknown? 1 5 connect", "1000 close open_at_end 2 5 connect"]);
}
