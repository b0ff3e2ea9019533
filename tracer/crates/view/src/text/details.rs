//! The details at the end of an event's line.

use std::fmt;
use std::io::Write as _;

use tracer_stream::{Close, Discard, Drop, Icmp, Kind, Owner, Socket, TcpFlags, Verdict};

use super::super::escape;
use super::super::unit::{Bytes, Count, Micros};
use super::ends;
use tracer_explain::numbers::Errno;

/// Pieces with a space between them, the most important ones first.
#[derive(Debug, Default)]
pub struct Details {
    text: Vec<u8>,
    /// The end of each piece: bytes and columns from the beginning.
    pieces: Vec<(usize, usize)>,
}

impl Details {
    /// Returns the columns of all pieces.
    pub fn width(&self) -> usize {
        self.pieces.last().map_or(0, |(_, columns)| *columns)
    }

    /// Returns as many pieces as fit into `columns`.
    pub fn cut(&self, columns: usize) -> &[u8] {
        let end = self.pieces.iter().rev().find(|(_, width)| *width <= columns).map_or(0, |(end, _)| *end);
        &self.text[..end]
    }

    fn push(&mut self, piece: fmt::Arguments<'_>) {
        // Writing to a Vec does not fail.
        self.piece(|text| drop(text.write_fmt(piece)));
    }

    fn piece(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let (before, columns) = (self.text.len(), self.width());
        if before > 0 {
            self.text.push(b' ');
        }
        write(&mut self.text);
        self.pieces.push((self.text.len(), columns + ends::columns(&self.text[before..])));
    }

    fn time(&mut self, us: Option<u64>) {
        if let Some(us) = us {
            self.piece(|text| Micros(us).append(text));
        }
    }

    fn bytes(&mut self, way: &str, bytes: Option<u64>) {
        if let Some(bytes) = bytes {
            self.piece(|text| {
                text.extend_from_slice(way.as_bytes());
                Bytes(bytes).append(text);
            });
        }
    }

    /// Collects the details of an event; `wide`: also those that the word before implies.
    pub fn of(&mut self, kind: &Kind<'_>, wide: bool) {
        self.text.clear();
        self.pieces.clear();
        match *kind {
            Kind::Listen { backlog: Some(backlog) } => self.push(format_args!("backlog {backlog}")),
            Kind::Connect { errno: Some(errno) } | Kind::Error { errno, accepts: None } => {
                self.push(format_args!("{}", Errno(errno)));
            }
            Kind::Error { errno, accepts: Some(times) } => {
                self.push(format_args!("accept() {}", Errno(errno)));
                if times > 1 {
                    self.push(format_args!("×{}", Count(times)));
                }
            }
            Kind::Bind { errno, held_by } => {
                self.push(format_args!("{}", Errno(errno)));
                self.held_by(held_by);
            }
            Kind::Listen { backlog: None } | Kind::Connect { errno: None } => {}
            Kind::Established { connect_us } => self.time(connect_us),
            Kind::Accept { accept_wait_us: Some(us) } => self.piece(|text| {
                text.extend_from_slice(b"waited ");
                Micros(us).append(text);
            }),
            Kind::Accept { accept_wait_us: None } => {}
            Kind::Open { state } => self.push(format_args!("{}", state.name())),
            Kind::State { old, new, state_us } => {
                self.push(format_args!("{}→{}", old.name(), new.name()));
                self.time(state_us);
            }
            Kind::Close(close) => self.close(close, wide),
            Kind::Retransmit { what, .. } => self.push(format_args!("{}", what.name())),
            Kind::Reset { received, reason } => {
                self.push(format_args!("{}", if received { "received" } else { "sent" }));
                if let Some(reason) = reason {
                    self.push(format_args!("{reason}"));
                }
            }
            Kind::Drop(drop) => self.drop(drop, wide),
            Kind::Discard(discard) => self.discard(discard),
            // Its line is a sentence instead.
            Kind::Finding(_) => {}
            Kind::Process(process) => self.program(process),
            Kind::Lost { class, count } => self.push(format_args!("{} {class} events were lost", Count(count))),
        }
    }

    /// Adds the arguments, or else the executable: one piece, which may be cut.
    fn program(&mut self, process: &Owner) {
        let mut text = String::new();
        match (&process.facts.cmdline, &process.facts.exe) {
            (Some(arguments), _) => escape::push(&mut text, &arguments.join(" ")),
            (None, Some(exe)) => escape::push(&mut text, exe),
            (None, None) => {}
        }
        if process.facts.cmdline_cut {
            text.push('…');
        }
        self.push(format_args!("{text}"));
    }

    /// Appends all pieces, the last one cut in the middle if it does not fit.
    pub fn append_cut(&self, out: &mut Vec<u8>, columns: usize) {
        let mut text = String::new();
        escape::push_cut_plain(&mut text, &String::from_utf8_lossy(&self.text), columns);
        out.extend_from_slice(text.as_bytes());
    }

    fn held_by(&mut self, owner: Option<&Owner>) {
        if let Some(owner) = owner {
            self.push_hostile(format_args!("held by "), &owner.comm);
            let before = self.text.len();
            // Writing to a Vec does not fail.
            let _ = write!(self.text, "[{}]", owner.pid);
            if let Some((end, columns)) = self.pieces.last_mut() {
                *columns += ends::columns(&self.text[before..]);
                *end = self.text.len();
            }
        }
    }

    fn close(&mut self, close: &Close, wide: bool) {
        if close.verdict == Verdict::NoAnswer {
            self.given_up(close);
        } else {
            self.time(close.duration_us);
        }
        if let Some(errno) = close.errno.filter(|errno| wide || !implied(close.verdict, *errno)) {
            self.push(format_args!("{}", Errno(errno)));
        }
        self.held_by(close.held_by.as_deref());
        // Without `--wide` it is in the line below.
        if let Some(icmp) = close.icmp.filter(|_| wide) {
            self.push(format_args!("({})", IcmpText(icmp)));
        }
        self.unanswered(close);
        // A connect() that failed cannot have sent anything.
        let nothing = close.tx_bytes.unwrap_or(0) == 0 && close.rx_bytes.unwrap_or(0) == 0;
        if !(nothing && close.verdict.is_failure()) {
            self.bytes("↑", close.tx_bytes);
            self.bytes("↓", close.rx_bytes);
        }
        if let Some(segments) = close.retransmits.filter(|segments| *segments > 0 && close.syns.is_none()) {
            self.push(format_args!("↻{segments}"));
        }
        if close.incomplete {
            self.push(format_args!("incomplete"));
        }
        if close.sockmap {
            self.push(format_args!("sockmap"));
        }
    }

    fn discard(&mut self, discard: &Discard) {
        self.push(format_args!("{}", discard.counter));
        self.push(format_args!("×{}", Count(discard.count)));
        if let (Some(queue), Some(backlog)) = (discard.queue, discard.backlog) {
            self.push(format_args!("queue {queue} of {backlog}"));
        }
        if let Some((count, most)) = discard.conntrack {
            self.push(format_args!("table {count} of {most}"));
        }
        if let Some(iface) = &discard.iface {
            self.push_hostile(format_args!("dev="), iface);
        }
    }

    /// Adds how long connect() had no answer, and to how many SYNs.
    fn given_up(&mut self, close: &Close) {
        let syns = |n: u32| (n, if n == 1 { "SYN" } else { "SYNs" });
        match (close.duration_us.map(Micros), close.syns.map(syns)) {
            (Some(time), Some((n, syns))) => self.push(format_args!("after {time}, {n} {syns}")),
            (Some(time), None) => self.push(format_args!("after {time}")),
            (None, Some((n, syns))) => self.push(format_args!("after {n} {syns}")),
            (None, None) => {}
        }
    }

    fn unanswered(&mut self, close: &Close) {
        let Close { unanswered: Some(true), .. } = close else { return };
        match (close.unacked_bytes, close.idle_us) {
            (Some(bytes), _) if bytes > 0 => self.push(format_args!("{} never acknowledged", Bytes(bytes))),
            (_, Some(us)) => self.push(format_args!("unanswered ({})", Micros(us))),
            _ => self.push(format_args!("unanswered")),
        }
    }

    fn drop(&mut self, drop: &Drop, wide: bool) {
        self.push(format_args!("{}", drop.cause()));
        if drop.count > 1 {
            self.push(format_args!("×{}", Count(drop.count)));
        }
        if let Some(flags) = drop.tcp_flags {
            self.push(format_args!("[{}]", TcpFlags(flags)));
        } else if let Some((kind, code)) = drop.icmp {
            self.push(format_args!("{} {kind}/{code}", drop.protocol.unwrap_or("icmp")));
        } else if let Some(protocol) = drop.protocol {
            self.push(format_args!("{protocol}"));
        }
        if !wide {
            return;
        }
        self.push(format_args!("{}", drop.class.name()));
        if let Some(symbol) = &drop.symbol {
            self.push(format_args!("at={symbol}"));
        }
        if let Some(iface) = &drop.iface {
            self.push_hostile(format_args!("dev="), iface);
        }
        if let Some(direction) = tracer_stream::direction(drop.direction) {
            self.push(format_args!("{direction}"));
        }
        self.push(format_args!("{}", Bytes(drop.len.into())));
    }

    /// Adds the further details of a wide line.
    pub fn wide(&mut self, socket: &Socket<'_>, kind: &Kind<'_>) {
        if let Kind::Close(close) = kind {
            for (name, us) in [
                ("rtt", close.srtt_us.map(u64::from)),
                ("connect", close.connect_us),
                ("accept-wait", close.accept_wait_us),
            ] {
                if let Some(us) = us {
                    self.push(format_args!("{name}={}", Micros(us)));
                }
            }
            if let Some((limited, by)) = close.limited.and_then(|limited| Some((limited, limited.by?))) {
                self.push(format_args!("limit={}({})", by.name(), Micros(limited.of(by))));
            }
            if close.preexisting {
                self.push(format_args!("preexisting"));
            }
        }
        if let Some(netns) = socket.netns {
            self.push(format_args!("netns={netns}"));
        }
        if let Some(home) = socket.home {
            self.push(format_args!("socket-netns={home}"));
        }
        let Some(owner) = socket.owner else { return };
        if let Some(thread) = &owner.thread {
            self.push_hostile(format_args!("thread="), thread);
        }
        if let Some(uid) = owner.uid {
            self.push(format_args!("uid={uid}"));
        }
        if let Some(container) = &owner.facts.container {
            let claimed = if container.claimed { "claimed:" } else { "" };
            self.push_hostile(format_args!("container={claimed}{}:", container.runtime), &container.id);
        }
        if let Some(exe) = &owner.facts.exe {
            self.push_hostile(format_args!("exe="), exe);
        }
        if let Some(cgroup) = &owner.facts.cgroup {
            self.push_hostile(format_args!("cgroup="), cgroup);
        }
    }

    /// Adds a piece that ends in text which another process chose.
    fn push_hostile(&mut self, head: fmt::Arguments<'_>, text: &str) {
        self.push(head);
        if let Some((end, columns)) = self.pieces.last_mut() {
            let mut escaped = String::new();
            escape::push(&mut escaped, text);
            self.text.extend_from_slice(escaped.as_bytes());
            *columns += escape::width(&escaped);
            *end = self.text.len();
        }
    }
}

/// Displays an ICMP error.
pub struct IcmpText(pub Icmp);

impl fmt::Display for IcmpText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(icmp) = self;
        write!(f, "{} {}/{}", icmp.protocol(), icmp.kind, icmp.code)?;
        if let Some(meaning) = icmp.meaning() {
            write!(f, " {meaning}")?;
        }
        write!(f, " from {}", icmp.from)
    }
}

/// Whether the verdict implies the error.
fn implied(verdict: Verdict, errno: i32) -> bool {
    matches!(
        (verdict, errno),
        (Verdict::Refused, libc::ECONNREFUSED)
            | (Verdict::NoAnswer, libc::EINPROGRESS)
            | (Verdict::TimedOut, libc::ETIMEDOUT)
            | (Verdict::ResetRemote, libc::ECONNRESET)
    )
}
