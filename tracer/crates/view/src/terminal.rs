//! What a terminal can do: its colours, its width, and drawing in the same place again.

use std::env;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::os::fd::AsFd;

use clap::ValueEnum;
use rustix::termios::tcgetwinsize;

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    /// Whether to use colours on `stream`.
    #[must_use]
    pub fn enabled(self, stream: &impl IsTerminal) -> bool {
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        self.decide(stream.is_terminal(), set("NO_COLOR"), is_dumb())
    }

    /// Decides by <https://no-color.org>: NO_COLOR counts if set and not empty. A choice on the command line wins.
    fn decide(self, terminal: bool, no_color: bool, dumb: bool) -> bool {
        match self {
            Self::Auto => terminal && !no_color && !dumb,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Whether the terminal has neither colours nor a cursor that moves.
#[must_use]
pub fn is_dumb() -> bool {
    env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// The columns of a line, at least [`Columns::LEAST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Columns(usize);

impl Columns {
    /// Narrower terminals wrap the lines themselves.
    pub const LEAST: usize = 60;
    /// Where there is no terminal.
    pub const PIPE: Self = Self(100);
    /// A terminal that does not know its size.
    const UNKNOWN: Self = Self(80);
    /// Lines of any length.
    pub const ENDLESS: Self = Self(usize::MAX);

    /// Makes lines of `columns`.
    #[must_use]
    pub const fn new(columns: usize) -> Self {
        Self(if columns < Self::LEAST { Self::LEAST } else { columns })
    }

    /// Returns the columns of the terminal at `stream`, or else those in `COLUMNS`, which `ps` and `ss` take as well.
    #[must_use]
    pub fn of(stream: &(impl AsFd + IsTerminal)) -> Self {
        Self::decide(width(stream), env::var("COLUMNS").ok().as_deref(), stream.is_terminal())
    }

    /// Returns the columns of the terminal at `stream`; endless ones if it is none.
    #[must_use]
    pub fn of_terminal(stream: &(impl AsFd + IsTerminal)) -> Self {
        if stream.is_terminal() { Self::of(stream) } else { Self::ENDLESS }
    }

    fn decide(width: Option<u16>, variable: Option<&str>, terminal: bool) -> Self {
        let width = width.or_else(|| variable.and_then(|text| text.parse().ok()).filter(|columns| *columns > 0));
        match width {
            Some(columns) => Self::new(columns.into()),
            None if terminal => Self::UNKNOWN,
            None => Self::PIPE,
        }
    }

    /// Returns them as a number.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0
    }
}

impl Default for Columns {
    fn default() -> Self {
        Self::PIPE
    }
}

fn width(stream: &impl AsFd) -> Option<u16> {
    tcgetwinsize(stream).ok().map(|size| size.ws_col).filter(|columns| *columns > 0)
}

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub lines: usize,
    /// Columns.
    pub columns: usize,
}

impl Size {
    /// Returns the size of the terminal at `stream`; a small one if it is unknown.
    #[must_use]
    pub fn of(stream: &(impl AsFd + IsTerminal)) -> Self {
        match tcgetwinsize(stream) {
            Ok(size) if size.ws_row > 0 && size.ws_col > 0 => {
                Self { lines: size.ws_row.into(), columns: size.ws_col.into() }
            }
            _ => Self { lines: 24, columns: Columns::of(stream).get() },
        }
    }
}

/// Appends the sequence that moves the cursor up to the first of `lines`, and erases everything below.
pub fn erase(out: &mut Vec<u8>, lines: usize) {
    if lines > 0 {
        let mut sequence = String::new();
        // Writing to a String does not fail.
        let _ = write!(sequence, "\x1b[{lines}F\x1b[J");
        out.extend_from_slice(sequence.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals() {
        assert!(Color::Auto.decide(true, false, false));
        for (terminal, no_color, dumb) in [(false, false, false), (true, true, false), (true, false, true)] {
            assert!(!Color::Auto.decide(terminal, no_color, dumb));
            assert!(Color::Always.decide(terminal, no_color, dumb));
            assert!(!Color::Never.decide(terminal, no_color, dumb));
        }
    }

    #[test]
    fn the_terminal_knows_its_width_best() {
        for (width, variable, terminal, columns) in [
            (Some(120), Some("90"), true, 120),
            (Some(20), None, true, 60),
            (None, Some("90"), true, 90),
            (None, Some("90"), false, 90),
            (None, Some("20"), false, 60),
            (None, Some("0"), false, 100),
            (None, Some("many"), false, 100),
            (None, Some("99999999"), false, 100),
            (None, None, false, 100),
            (None, None, true, 80),
        ] {
            let of = Columns::decide(width, variable, terminal);
            assert_eq!(of.get(), columns, "{width:?} {variable:?} {terminal}");
        }
    }
}
