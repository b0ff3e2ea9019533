//! The stream as text, in fixed columns; a line has at most 100 without `--wide`.
//!
//! ```text
//! 12:01:02.123 connect         curl[4121]       10.0.0.1:* → 10.0.0.5:443
//! 12:01:02.124 established     curl[4121]       10.0.0.1:40000 → 10.0.0.5:443    1.2ms
//! 12:01:03.361 closed_local    curl[4121]       10.0.0.1:40000 → 10.0.0.5:443    1.24s ↑1.2MB ↓345B
//! ```
//!
//! The last line of a connection has its verdict in place of the kind.

mod details;
pub(super) mod ends;

use std::fmt::Write as _;
use std::io::{self, Write};

use tracer_stream::{DropClass, Event, Finding, Kind, Owner, Role, Sink, Socket, Stack, Verdict};

use super::clock::{TimeOfDay, WallClock};
use super::escape;
use super::output::Output;
use super::owners::Owners;
use super::stack;
use details::{Details, IcmpText};
use tracer_explain::numbers::Errno;

/// Columns of a line without `--wide`.
pub const COLUMNS: usize = 100;
/// Columns of the word; the longest is `listener_closed`.
const KIND: usize = 15;
const PROCESS: usize = 16;
/// Columns left for the connection and the details.
const TAIL: usize = COLUMNS - TimeOfDay::WIDTH - 1 - KIND - 1 - PROCESS - 1;
/// Columns of the connection, so that the details line up.
const ENDS: usize = 32;
/// The column of the line about a drop's hint: under its word.
const HINT: usize = TimeOfDay::WIDTH + 1;
/// Columns of the process in a wide line: a `comm` of 15 characters and an id of 7 digits.
const WIDE_PROCESS: usize = 24;
/// Columns of the connection in a wide line: two IPv4 addresses with ports.
const WIDE_ENDS: usize = 45;

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// Whether lines may have more than 100 columns.
    pub wide: bool,
    /// Whether times are in UTC.
    pub utc: bool,
    /// Whether to use colours.
    pub color: bool,
    /// Whether to show `open`: sockets older than the trace.
    pub open: bool,
    /// Whether to show the `close` of sockets still open at the end.
    pub open_at_end: bool,
    /// Whether to show harmless drops.
    pub quiet_drops: bool,
    /// Whether to show resets, which verdicts imply.
    pub resets: bool,
}

/// The meaning of the word in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Plain,
    Done,
    Good,
    Warning,
    Failure,
}

impl Meaning {
    /// Returns the terminal's sequence; the colours are from the user's own palette.
    fn sequence(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Done => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Warning => "\x1b[33m",
            Self::Failure => "\x1b[31m",
        }
    }
}

const fn meaning_of(class: DropClass) -> Meaning {
    match class {
        DropClass::Loss | DropClass::Refused => Meaning::Failure,
        DropClass::Policy => Meaning::Warning,
        DropClass::Teardown | DropClass::Noise => Meaning::Done,
    }
}

/// Returns the terminal's sequence for drops of a class.
pub(super) fn drop_sequence(class: DropClass) -> &'static str {
    meaning_of(class).sequence()
}

/// Returns the word for an event, and its meaning.
fn word(kind: &Kind<'_>) -> (&'static str, Meaning) {
    let meaning = match kind {
        Kind::Finding(_) => Meaning::Warning,
        Kind::Connect { errno: Some(_) } | Kind::Error { .. } | Kind::Bind { .. } | Kind::Lost { .. } => {
            Meaning::Failure
        }
        Kind::Established { .. } => Meaning::Good,
        Kind::Open { .. } | Kind::State { .. } => Meaning::Done,
        Kind::Listen { .. } | Kind::Connect { .. } | Kind::Accept { .. } | Kind::Process(_) => Meaning::Plain,
        Kind::Retransmit { .. } | Kind::Reset { .. } => Meaning::Warning,
        Kind::Drop(drop) => meaning_of(drop.class),
        Kind::Discard(_) => Meaning::Failure,
        Kind::Close(close) => {
            let meaning = match close.verdict {
                Verdict::ResetLocal | Verdict::ResetRemote | Verdict::TimedOut => Meaning::Warning,
                verdict if verdict.is_failure() => Meaning::Failure,
                _ if close.unanswered == Some(true) => Meaning::Warning,
                _ => Meaning::Done,
            };
            return (if close.verdict == Verdict::Unknown { "closed" } else { close.verdict.name() }, meaning);
        }
    };
    (kind.name(), meaning)
}

/// Takes the stream and writes lines.
#[derive(Debug)]
pub struct TextSink<W> {
    output: Output<W>,
    clock: WallClock,
    time: TimeOfDay,
    options: TextOptions,
    line: Vec<u8>,
    ends: Vec<u8>,
    details: Details,
    owners: Owners<String>,
}

impl<W: Write> TextSink<W> {
    /// Makes a sink that writes to `to`.
    pub fn new(to: W, clock: WallClock, options: TextOptions) -> Self {
        Self {
            output: Output::new(to),
            clock,
            time: TimeOfDay::new(options.utc),
            options,
            line: Vec::new(),
            ends: Vec::new(),
            details: Details::default(),
            owners: Owners::default(),
        }
    }

    /// Writes the names of the columns.
    pub fn header(&mut self) {
        let time = if self.options.utc { "TIME (UTC)" } else { "TIME" };
        let (process, ends) = self.widths();
        let width = TimeOfDay::WIDTH;
        let names = format!("{time:width$} {:KIND$} {:process$} {:ends$} DETAILS\n", "EVENT", "PROCESS", "CONNECTION");
        self.output.line().extend_from_slice(names.as_bytes());
    }

    /// Writes the gathered lines; the caller flushes after each batch of events.
    pub fn flush(&mut self) {
        self.output.flush();
    }

    /// Returns the error that ended the writing.
    pub fn error(&self) -> Option<&io::Error> {
        self.output.error()
    }

    /// Returns the number of printed events.
    pub fn printed(&self) -> u64 {
        self.output.printed()
    }

    /// Returns the writer.
    pub fn into_inner(self) -> W {
        self.output.into_inner()
    }

    fn widths(&self) -> (usize, usize) {
        if self.options.wide { (WIDE_PROCESS, WIDE_ENDS) } else { (PROCESS, ENDS) }
    }

    fn hides(&self, kind: &Kind<'_>) -> bool {
        match kind {
            Kind::Open { .. } => !self.options.open,
            Kind::Close(close) => close.verdict == Verdict::OpenAtEnd && !self.options.open_at_end,
            Kind::Drop(drop) => drop.class.is_quiet() && !self.options.quiet_drops,
            Kind::Reset { .. } => !self.options.resets,
            _ => false,
        }
    }

    fn word(&mut self, kind: &Kind<'_>) {
        let (word, meaning) = word(kind);
        let sequence = if self.options.color { meaning.sequence() } else { "" };
        self.line.extend_from_slice(sequence.as_bytes());
        self.line.extend_from_slice(word.as_bytes());
        if !sequence.is_empty() {
            self.line.extend_from_slice(b"\x1b[0m");
        }
        pad(&mut self.line, word.len(), KIND);
    }

    fn process(&mut self, owner: Option<&Owner>) {
        let (columns, _) = self.widths();
        match owner {
            Some(owner) => {
                let process = self.owners.written(owner, || process(owner, columns));
                self.line.extend_from_slice(process.as_bytes());
            }
            None => {
                self.line.push(b'-');
                pad(&mut self.line, 1, columns);
            }
        }
    }

    /// Appends the connection and the details in the rest of the line. The details line up, unless
    /// moving them makes room for a whole address. If that is not enough, the local address goes, then
    /// the middle of the remote one, then the last details. Ports stay.
    fn tail(&mut self, socket: &Socket<'_>, least_ends: usize) {
        let details = self.details.width();
        let gap = usize::from(details > 0);
        let room = TAIL - details.min(TAIL) - gap.min(TAIL - details.min(TAIL));
        self.ends.clear();
        let mut used = ends::whole(&mut self.ends, socket);
        if used > room {
            let mut short = String::new();
            ends::short(&mut short, socket, room.max(least_ends));
            used = escape::width(&short);
            self.ends.clear();
            self.ends.extend_from_slice(short.as_bytes());
        }
        self.line.extend_from_slice(&self.ends);
        if details > 0 {
            let begin = ENDS.min(room).max(used);
            pad(&mut self.line, used, begin);
            self.line.push(b' ');
            self.line.extend_from_slice(self.details.cut(TAIL - begin - 1));
        }
    }

    /// Appends a sentence instead of the columns; the summary has it in full.
    fn finding(&mut self, finding: &Finding) {
        let room = if self.options.wide { usize::MAX } else { COLUMNS - TimeOfDay::WIDTH - 1 - KIND - 1 };
        let mut text = String::new();
        escape::push_cut(&mut text, &finding.text, room);
        self.line.extend_from_slice(text.as_bytes());
        self.line_done(None);
    }

    /// Appends a drop's hint in a line below.
    fn hint(&mut self, text: &str) {
        while self.line.last() == Some(&b' ') {
            self.line.pop();
        }
        self.line.push(b'\n');
        pad(&mut self.line, 0, HINT);
        let room = if self.options.wide { usize::MAX } else { COLUMNS - HINT - 2 };
        let mut escaped = String::from("└ ");
        escape::push_cut(&mut escaped, text, room);
        self.line.extend_from_slice(escaped.as_bytes());
    }

    fn line_done(&mut self, stack: Option<&Stack>) {
        let columns = if self.options.wide { usize::MAX } else { COLUMNS };
        let out = self.output.line();
        out.extend_from_slice(self.line.trim_ascii_end());
        out.push(b'\n');
        if let Some(stack) = stack {
            let _ = stack::append(out, stack, columns);
        }
        self.output.line_done();
    }

    fn wide_tail(&mut self, socket: &Socket<'_>, kind: &Kind<'_>) {
        self.details.wide(socket, kind);
        let used = ends::whole(&mut self.line, socket);
        pad(&mut self.line, used, WIDE_ENDS);
        self.line.push(b' ');
        self.line.extend_from_slice(self.details.cut(usize::MAX));
    }
}

impl<W: Write> Sink for TextSink<W> {
    fn event(&mut self, event: &Event<'_>) {
        if self.hides(&event.kind) {
            return;
        }
        self.line.clear();
        self.time.write(&mut self.line, self.clock.wall_ns(event.boot_ns));
        self.line.push(b' ');
        self.word(&event.kind);
        self.line.push(b' ');
        if let Kind::Finding(finding) = event.kind {
            return self.finding(finding);
        }
        self.process(match event.kind {
            Kind::Process(process) => Some(process),
            _ => event.socket.as_ref().and_then(|socket| socket.owner),
        });
        self.line.push(b' ');
        self.details.of(&event.kind, self.options.wide);
        let room = if self.options.wide { usize::MAX } else { TAIL };
        let ends_of_packet = ends_of_packet(event);
        match ends_of_packet.as_ref().or(event.socket.as_ref()) {
            Some(socket) if self.options.wide => self.wide_tail(socket, &event.kind),
            // Two names of states take more room than other details, and need each other.
            Some(socket) => self.tail(socket, if matches!(event.kind, Kind::State { .. }) { 26 } else { ENDS }),
            None if matches!(event.kind, Kind::Process(_)) => self.details.append_cut(&mut self.line, room),
            None => self.line.extend_from_slice(self.details.cut(TAIL)),
        }
        if let Kind::Drop(drop) = event.kind
            && let Some(hint) = &drop.hint
        {
            self.hint(&hint.text);
        }
        if let Kind::Close(close) = event.kind
            && let (Some(icmp), Some(errno), false) = (close.icmp, close.errno, self.options.wide)
        {
            self.hint(&format!("{} ({})", Errno(errno), IcmpText(icmp)));
        }
        self.line_done(match event.kind {
            Kind::Drop(drop) => Some(&drop.stack),
            _ => None,
        });
    }
}

/// Returns the ends of a dropped packet: from its source to its destination, whichever is local.
fn ends_of_packet<'a>(event: &Event<'a>) -> Option<Socket<'a>> {
    let Kind::Drop(drop) = event.kind else { return None };
    let ends = drop.ends?;
    Some(Socket {
        laddr: Some(ends.saddr),
        lport: ends.sport,
        raddr: Some(ends.daddr),
        rport: ends.dport,
        role: Role::Client,
        ..event.socket?
    })
}

/// Formats name and id in `columns`, with the name cut to fit.
fn process(owner: &Owner, columns: usize) -> String {
    let mut text = String::new();
    let id = 2 + owner.pid.checked_ilog10().map_or(1, |digits| digits as usize + 1);
    let used = escape::push_cut(&mut text, &owner.comm, columns - id);
    // Writing to a String does not fail.
    let _ = write!(text, "[{}]{:rest$}", owner.pid, "", rest = columns - id - used);
    text
}

fn pad(out: &mut Vec<u8>, used: usize, columns: usize) {
    out.resize(out.len() + columns.saturating_sub(used), b' ');
}

#[cfg(test)]
mod tests;
