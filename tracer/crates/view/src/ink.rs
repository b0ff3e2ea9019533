//! One ink: what a text means decides how it looks. The colours are from the user's own palette.

use std::sync::LazyLock;

use crate::escape;
use anstyle::{AnsiColor, Effects, Style};
use tracer_host::net::health::Severity;
use tracer_stream::DropClass;

/// The meaning of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ink {
    /// Nothing special.
    #[default]
    Plain,
    /// Done, idle, or beside the point.
    Faint,
    /// Names what follows.
    Heading,
    /// As it should be.
    Good,
    /// Worth a look.
    Warning,
    /// Failed, sick or lost.
    Failure,
}

impl Ink {
    const ALL: [Self; 6] = [Self::Plain, Self::Faint, Self::Heading, Self::Good, Self::Warning, Self::Failure];

    const fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Faint | Self::Heading => Style::new().effects(Effects::DIMMED),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Failure => AnsiColor::Red.on_default(),
        }
    }

    /// Returns the sequences that begin and end this ink: nothing without `color`.
    #[must_use]
    pub fn ends(self, color: bool) -> (&'static str, &'static str) {
        // Rendered once: formatting a style for each event costs as much as the rest of its word.
        static ENDS: LazyLock<[(String, String); Ink::ALL.len()]> = LazyLock::new(|| {
            Ink::ALL.map(|ink| (ink.style().render().to_string(), ink.style().render_reset().to_string()))
        });
        match ENDS.get(self as usize) {
            Some((begin, end)) if color => (begin, end),
            _ => ("", ""),
        }
    }

    /// Appends what `write` appends, in this ink.
    pub fn paint(self, out: &mut String, color: bool, write: impl FnOnce(&mut String)) {
        let (begin, end) = self.ends(color);
        out.push_str(begin);
        write(out);
        out.push_str(end);
    }
}

/// Appends as much of `line` as fits into `columns`, with `…` for the rest. Its sequences take no columns.
pub fn push_cut(out: &mut Vec<u8>, line: &str, columns: usize) {
    // A sequence ends in the first `m`; everything else in the line is escaped.
    let mut parts = line.split('\x1b').map(|part| part.split_once('m').unwrap_or(("", part)));
    let first = line.split('\x1b').next().unwrap_or_default();
    let text = std::iter::once(("", first)).chain(parts.by_ref().skip(1));
    let mut left = columns;
    for (sequence, text) in text {
        if !sequence.is_empty() {
            out.push(b'\x1b');
            out.extend_from_slice(sequence.as_bytes());
            out.push(b'm');
        }
        let mut shown = String::new();
        left -= escape::push_cut_plain(&mut shown, text, left).min(left);
        out.extend_from_slice(shown.as_bytes());
    }
}

impl From<Severity> for Ink {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Sick => Self::Failure,
            Severity::Watch => Self::Warning,
        }
    }
}

impl From<DropClass> for Ink {
    fn from(class: DropClass) -> Self {
        match class {
            DropClass::Loss | DropClass::Refused => Self::Failure,
            DropClass::Policy => Self::Warning,
            DropClass::Teardown | DropClass::Noise => Self::Faint,
        }
    }
}

/// Returns `text` without the sequences of any ink.
#[cfg(test)]
pub(crate) fn without(text: &str) -> String {
    let ends = Ink::ALL.into_iter().map(|ink| ink.ends(true)).filter(|(begin, _)| !begin.is_empty());
    ends.fold(text.to_owned(), |text, (begin, end)| text.replace(begin, "").replace(end, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_line_ends_its_ink() {
        let line = "ab\x1b[31mcdef\x1b[0m gh";
        for (columns, shown) in [
            (9, "ab\x1b[31mcdef\x1b[0m gh"),
            (8, "ab\x1b[31mcdef\x1b[0m …"),
            (5, "ab\x1b[31mcd…\x1b[0m"),
            (1, "…\x1b[31m\x1b[0m"),
        ] {
            let mut out = Vec::new();
            push_cut(&mut out, line, columns);
            assert_eq!(String::from_utf8_lossy(&out), shown, "{columns}");
        }
    }

    #[test]
    fn an_ink_for_each_meaning() {
        for (place, ink) in Ink::ALL.into_iter().enumerate() {
            assert_eq!(ink as usize, place);
            let mut out = String::new();
            ink.paint(&mut out, false, |out| out.push('x'));
            assert_eq!(out, "x");
        }
        for (ink, shown) in [
            (Ink::Plain, "x"),
            (Ink::Faint, "\x1b[2mx\x1b[0m"),
            (Ink::Good, "\x1b[32mx\x1b[0m"),
            (Ink::Warning, "\x1b[33mx\x1b[0m"),
            (Ink::Failure, "\x1b[31mx\x1b[0m"),
        ] {
            let mut out = String::new();
            ink.paint(&mut out, true, |out| out.push('x'));
            assert_eq!(out, shown);
            assert_eq!(without(&out), "x");
        }
    }
}
