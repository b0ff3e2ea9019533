//! The table as text, as wide as the terminal without `--wide`.
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
use crate::ink::Ink;
use crate::table::{Column, Layout};
use crate::terminal::Columns;
use tracer_host::sockets::collect::Picture;
use tracer_host::sockets::proto::State;
use tracer_host::sockets::watch::Change;

pub(super) const PROTO: usize = 7;
pub(super) const STATE: usize = 11;
pub(super) const QUEUE: usize = 6;
pub(super) const END: usize = 21;
pub(super) const OWNER: usize = 22;
/// An end with a cut address and a whole port.
const LEAST_END: usize = 13;
/// An end of IPv6.
const FULL_END: usize = 47;

/// What a column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Mark,
    Proto,
    State,
    RecvQ,
    SendQ,
    Local,
    Remote,
    Owner,
    Details,
}

fn columns(options: TableOptions) -> Vec<(Field, Column)> {
    // Wide lines, in which nothing is cut, have room for most IPv6 addresses with a port.
    let (full_end, full_owner) = if options.wide { (29, 24) } else { (FULL_END, 40) };
    // The mark has the room of the owner.
    let owner = if options.marks { OWNER - 2 } else { OWNER };
    let columns = [
        (options.marks, Field::Mark, Column::text("", [1; 3], 9)),
        (true, Field::Proto, Column::text("PROTO", [PROTO; 3], 9)),
        (true, Field::State, Column::text("STATE", [STATE; 3], 9)),
        (true, Field::RecvQ, Column::number("RECV-Q", QUEUE).optional(3)),
        (true, Field::SendQ, Column::number("SEND-Q", QUEUE).optional(3)),
        (true, Field::Local, Column::text("LOCAL", [LEAST_END, END, full_end], 2)),
        (true, Field::Remote, Column::text("REMOTE", [LEAST_END, END, full_end], 2)),
        (true, Field::Owner, Column::text("OWNER", [10, owner, full_owner], 1)),
        (options.wide, Field::Details, Column::text("", [0; 3], 0)),
    ];
    columns.into_iter().filter(|(shown, _, _)| *shown).map(|(_, field, column)| (field, column)).collect()
}

/// How the table looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// Whether nothing is cut, and everything is shown.
    pub wide: bool,
    /// The columns of a line.
    pub columns: Columns,
    /// Whether to use colours.
    pub color: bool,
    /// Whether a mark is before each line (`--watch`).
    pub marks: bool,
}

/// Writes sockets as lines.
#[derive(Debug, Default)]
pub struct TextRows {
    options: TableOptions,
    layout: Layout,
    fields: Vec<Field>,
    line: String,
    netns: Option<u32>,
    /// The writer for lines of 100 columns without colours or marks.
    plain: Option<PlainRows>,
}

impl TextRows {
    /// Makes a writer by `options`.
    #[must_use]
    pub fn new(options: TableOptions) -> Self {
        let general = Self::in_general(options, None);
        let is_plain = general.layout.is_usual() && !options.wide && !options.color && !options.marks;
        Self { plain: is_plain.then(PlainRows::default), ..general }
    }

    /// Makes a writer without lines of a fixed shape.
    pub(super) fn in_general(options: TableOptions, netns: Option<u32>) -> Self {
        let (fields, sized): (Vec<Field>, Vec<Column>) = columns(options).into_iter().unzip();
        let layout = if options.wide { Layout::full(&sized) } else { Layout::new(&sized, options.columns.get()) };
        Self { options, layout, fields, netns, ..Self::default() }
    }

    /// Makes a writer by `options` that goes on after a socket in namespace `netns`.
    #[must_use]
    pub fn after(options: TableOptions, netns: Option<u32>) -> Self {
        Self { netns, ..Self::new(options) }
    }

    pub(super) const fn options(&self) -> TableOptions {
        self.options
    }

    /// Appends the names of the columns.
    pub fn header(&self, out: &mut Vec<u8>) {
        let mut line = String::new();
        self.layout.header(&mut line);
        out.extend_from_slice(line.as_bytes());
    }

    /// Appends the line of a socket, after the name of its namespace if that differs from the last
    /// socket's.
    pub fn write(&mut self, out: &mut Vec<u8>, shown: &Shown<'_>) {
        let is_plain = |plain: &mut PlainRows| plain.write(out, shown);
        if self.netns == Some(shown.row.netns) && self.plain.as_mut().is_some_and(is_plain) {
            return;
        }
        self.line.clear();
        self.namespace(shown);
        let Self { options, layout, fields, line, .. } = self;
        let row = shown.row;
        let device = shown.picture.device(row);
        layout.row(line, options.color, |line, at, width| {
            let width = if options.wide { usize::MAX } else { width };
            match fields.get(at) {
                Some(Field::Mark) => line.extend(shown.change.map(Change::mark)),
                Some(Field::Proto) => line.push_str(row.proto.name()),
                Some(Field::State) => {
                    line.push_str(row.state.name());
                    return ink(row.state);
                }
                Some(Field::RecvQ) => {
                    cells::digits(line, row.recv_q);
                    if row.state == State::Listen && row.send_q > 0 && row.recv_q > row.send_q {
                        return Ink::Failure;
                    }
                }
                Some(Field::SendQ) => cells::digits(line, row.send_q),
                Some(Field::Local) => cells::local(line, row, device, width),
                Some(Field::Remote) => cells::remote(line, row, device, width),
                Some(Field::Owner) => cells::owner(line, shown.picture, row, width, options.wide),
                Some(Field::Details) => {
                    let begin = line.len();
                    cells::details(line, shown.picture, row);
                    // The gap is there already.
                    if line.len() > begin {
                        line.remove(begin);
                    }
                }
                None => {}
            }
            Ink::Plain
        });
        out.extend_from_slice(self.line.as_bytes());
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

/// Returns the ink of a state: sockets that their own process must close and those without an answer are worth a look.
const fn ink(state: State) -> Ink {
    match state {
        State::Listen => Ink::Good,
        State::CloseWait | State::SynSent => Ink::Warning,
        State::TimeWait | State::Close => Ink::Faint,
        _ => Ink::Plain,
    }
}
