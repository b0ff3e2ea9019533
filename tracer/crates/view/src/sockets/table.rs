//! The table as text, in 100 columns without `--wide`.
//!
//! ```text
//! PROTO   STATE       RECV-Q SEND-Q LOCAL                 REMOTE                OWNER
//! tcp     LISTEN           0    128 0.0.0.0:22            *                     sshd[812]
//! tcp     ESTABLISHED      0      0 10.0.0.1:22           10.0.0.9:50122        sshd[4711] +1
//! ```

use std::fmt::Write as _;

use super::plain::PlainRows;
use super::{Shown, cells};
use crate::escape;
use tracer_host::sockets::collect::Picture;
use tracer_host::sockets::proto::State;
use tracer_host::sockets::watch::Change;

pub(super) const PROTO: usize = 7;
pub(super) const STATE: usize = 11;
pub(super) const QUEUE: usize = 6;
pub(super) const END: usize = 21;
const OWNER: usize = 22;
/// Wide lines: room for most IPv6 addresses with a port.
const WIDE_END: usize = 29;
const WIDE_OWNER: usize = 24;

/// How the table looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// Whether lines may have more than 100 columns.
    pub wide: bool,
    /// Whether to use colours.
    pub color: bool,
    /// Whether a mark is before each line (`--watch`).
    pub marks: bool,
}

/// Writes sockets as lines.
#[derive(Debug, Default)]
pub struct TextRows {
    options: TableOptions,
    line: String,
    netns: Option<u32>,
    /// The writer for lines without wide columns, colours or marks.
    plain: Option<PlainRows>,
}

impl TextRows {
    /// Makes a writer by `options`.
    #[must_use]
    pub fn new(options: TableOptions) -> Self {
        let is_plain = !options.wide && !options.color && !options.marks;
        Self { options, plain: is_plain.then(PlainRows::default), ..Self::default() }
    }

    /// Makes a writer without lines of a fixed shape.
    #[cfg(test)]
    pub(super) fn in_general(options: TableOptions, netns: Option<u32>) -> Self {
        Self { options, netns, ..Self::default() }
    }

    /// Makes a writer by `options` that goes on after a socket in namespace `netns`.
    #[must_use]
    pub fn after(options: TableOptions, netns: Option<u32>) -> Self {
        Self { netns, ..Self::new(options) }
    }

    /// Whether lines may be longer than 100 columns.
    pub(super) fn wide(&self) -> bool {
        self.options.wide
    }

    fn widths(&self) -> (usize, usize) {
        match (self.options.wide, self.options.marks) {
            (true, _) => (WIDE_END, WIDE_OWNER),
            (false, false) => (END, OWNER),
            (false, true) => (END, OWNER - 2),
        }
    }

    /// Appends the names of the columns.
    pub fn header(&self, out: &mut Vec<u8>) {
        let (end, _) = self.widths();
        let mark = if self.options.marks { "  " } else { "" };
        let line = format!(
            "{mark}{:PROTO$} {:STATE$} {:>QUEUE$} {:>QUEUE$} {:end$} {:end$} OWNER\n",
            "PROTO", "STATE", "RECV-Q", "SEND-Q", "LOCAL", "REMOTE"
        );
        out.extend_from_slice(line.as_bytes());
    }

    /// Appends the line of a socket, after the name of its namespace if that differs from the last
    /// socket's.
    pub fn write(&mut self, out: &mut Vec<u8>, shown: &Shown<'_>) {
        let (end, owner) = self.widths();
        let is_plain = |plain: &mut PlainRows| plain.write(out, shown, owner);
        if self.netns == Some(shown.row.netns) && self.plain.as_mut().is_some_and(is_plain) {
            return;
        }
        self.line.clear();
        self.namespace(shown);
        let row = shown.row;
        if self.options.marks {
            self.line.push(shown.change.map_or(' ', Change::mark));
            self.line.push(' ');
        }
        self.column(PROTO, |line| line.push_str(row.proto.name()));
        let sequence = if self.options.color { sequence(row.state) } else { "" };
        self.line.push_str(sequence);
        let state = row.state.name();
        self.line.push_str(state);
        if !sequence.is_empty() {
            self.line.push_str("\x1b[0m");
        }
        self.pad(state.len(), STATE);
        self.line.push(' ');
        let warns = self.options.color && row.state == State::Listen && row.send_q > 0 && row.recv_q > row.send_q;
        if warns {
            self.line.push_str("\x1b[31m");
        }
        self.right(row.recv_q);
        if warns {
            self.line.push_str("\x1b[0m");
        }
        self.right(row.send_q);
        let cut = if self.options.wide { usize::MAX } else { end };
        self.column(end, |line| cells::local(line, row, shown.picture.device(row), cut));
        self.column(end, |line| cells::remote(line, row, shown.picture.device(row), cut));
        if self.options.wide {
            self.column(owner, |line| cells::owner(line, shown.picture, row, usize::MAX, true));
            self.line.pop();
            cells::details(&mut self.line, shown.picture, row);
        } else {
            cells::owner(&mut self.line, shown.picture, row, owner, false);
        }
        out.extend_from_slice(self.line.trim_end().as_bytes());
        out.push(b'\n');
    }

    fn namespace(&mut self, shown: &Shown<'_>) {
        let netns = shown.row.netns;
        let is_new = self.netns.replace(netns) != Some(netns);
        let is_own = shown.picture.own_netns == Some(netns);
        // The table begins with the own namespace, which needs no heading.
        if is_new && !(is_own && self.line.is_empty() && !self.options.marks) {
            heading(&mut self.line, shown.picture, netns);
        }
    }

    fn column(&mut self, columns: usize, write: impl FnOnce(&mut String)) {
        let begin = self.line.len();
        write(&mut self.line);
        let used = escape::width(self.line.get(begin..).unwrap_or_default());
        self.pad(used, columns);
        self.line.push(' ');
    }

    /// Appends a number at the right side of its column, and a blank.
    fn right(&mut self, number: u32) {
        let used = number.checked_ilog10().map_or(1, |digits| digits as usize + 1);
        self.pad(used, QUEUE);
        cells::digits(&mut self.line, number);
        self.line.push(' ');
    }

    fn pad(&mut self, used: usize, columns: usize) {
        const BLANKS: &str = "                                ";
        let mut left = columns.saturating_sub(used);
        while left > 0 {
            let some = left.min(BLANKS.len());
            self.line.push_str(BLANKS.get(..some).unwrap_or_default());
            left -= some;
        }
    }
}

/// Appends the line before the sockets of a namespace.
pub(super) fn heading(line: &mut String, picture: &Picture, netns: u32) {
    let name = picture.namespaces.get(&netns).and_then(|netns| netns.name.as_deref());
    let _ = match (name, picture.own_netns == Some(netns)) {
        (Some(name), _) => writeln!(line, "network namespace {} ({netns})", escape::Escaped(name)),
        (None, true) => writeln!(line, "this network namespace ({netns})"),
        (None, false) => writeln!(line, "network namespace {netns}"),
    };
}

/// Returns the colour of a state, from the user's own palette: sockets that their own process must
/// close and those without an answer are worth a look.
const fn sequence(state: State) -> &'static str {
    match state {
        State::Listen => "\x1b[32m",
        State::CloseWait | State::SynSent => "\x1b[33m",
        State::TimeWait | State::Close => "\x1b[2m",
        _ => "",
    }
}
