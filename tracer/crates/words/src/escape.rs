//! Escapes text that another process chose, on its way to a terminal.

use std::fmt::{self, Write as _};

use unicode_width::UnicodeWidthChar;

/// Appends `text`, and escapes everything that a terminal could take for more than a character in its
/// place: control characters (C0, DEL, C1), characters that change the direction of writing, and those
/// that take no column (format characters, combining marks). It doubles a backslash, so that text
/// cannot imitate an escape.
pub fn push(out: &mut String, text: &str) {
    for c in text.chars() {
        push_char(out, c);
    }
}

/// Appends as much of `text` as fits into `columns`, escaped, with `…` for the rest. Returns the
/// number of columns used.
pub fn push_cut(out: &mut String, text: &str, columns: usize) -> usize {
    cut(out, text.chars(), columns, push_char)
}

/// Like [`push_cut`], for text that is already escaped or our own: never cuts inside an escape.
pub fn push_cut_plain(out: &mut String, text: &str, columns: usize) -> usize {
    cut(out, units(text), columns, String::push_str)
}

/// Returns the characters of `text`, which is already escaped or our own; an escape is one of them.
pub fn units(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    let mut units = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if first == '\\' { escape_length(rest) } else { first.len_utf8() };
        let (unit, after) = rest.split_at(length);
        units.push(unit);
        rest = after;
    }
    units.into_iter()
}

/// Returns the bytes of the escape that `text` begins with.
fn escape_length(text: &str) -> usize {
    let kind = text.chars().nth(1);
    let whole = match kind {
        Some('x') => text.get(..4).map(str::len),
        Some('u') if text.get(2..3) == Some("{") => text.find('}').map(|end| end + 1),
        _ => None,
    };
    whole.unwrap_or(1 + kind.map_or(0, char::len_utf8))
}

fn cut<T>(
    out: &mut String,
    units: impl IntoIterator<Item = T>,
    columns: usize,
    write: impl Fn(&mut String, T),
) -> usize {
    let mut used = 0;
    // The length of `out` and `used` when there was still room for `…`.
    let mut fallback = (out.len(), 0);
    for unit in units {
        let begin = out.len();
        write(out, unit);
        used += width(out.get(begin..).unwrap_or_default());
        if used > columns {
            let (end, before) = fallback;
            out.truncate(end);
            if before < columns {
                out.push('…');
                return before + 1;
            }
            return before;
        }
        if used < columns {
            fallback = (out.len(), used);
        }
    }
    used
}

/// Returns the columns that `text` takes. It must not have control characters.
#[must_use]
pub fn width(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    // Most of a line is ASCII: only the rest needs a look-up.
    text.chars().map(|c| if c.is_ascii() { 1 } else { c.width().unwrap_or(0) }).sum()
}

/// Whether a terminal shows `c` as one character and does nothing else.
#[must_use]
pub fn is_plain(c: char) -> bool {
    match c {
        ' '..='~' => true,
        // Variation selectors, joiners and marks have no width; a bidi mark may have one.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => false,
        // Hangul fillers are invisible; the tags of plane 14 and private characters can look like anything.
        '\u{ad}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'.. => false,
        c => !c.is_control() && c.width().is_some_and(|width| width > 0),
    }
}

fn push_char(out: &mut String, c: char) {
    match c {
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if is_plain(c) => out.push(c),
        c if c < '\u{80}' => {
            // Writing to a String does not fail.
            let _ = write!(out, "\\x{:02x}", u32::from(c));
        }
        c => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
    }
}

/// Displays text as [`push`] writes it.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        push(&mut text, self.0);
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        Escaped(text).to_string()
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        for (text, shown) in [
            ("tmux: server", "tmux: server"),
            ("a\nb\r\t", "a\\nb\\r\\t"),
            ("\x1b[31mred", "\\x1b[31mred"),
            ("\0\x7f", "\\x00\\x7f"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
            ("\u{2066}\u{200f}\u{feff}\u{200d}", "\\u{2066}\\u{200f}\\u{feff}\\u{200d}"),
            ("e\u{301}", "e\\u{301}"),
            ("\u{e0041}", "\\u{e0041}"),
            ("\\x1b", "\\\\x1b"),
            ("größe 日本", "größe 日本"),
            ("\u{fffd}", "\u{fffd}"),
        ] {
            assert_eq!(escaped(text), shown, "{text:?}");
        }
    }

    #[test]
    fn no_character_gets_through_that_is_not_plain() {
        for c in '\0'..=char::MAX {
            let text = escaped(&c.to_string());
            assert!(!text.chars().any(char::is_control), "{c:?}");
            assert!(text.chars().all(|c| c.width().is_some_and(|width| width > 0)), "{c:?}");
            if c.is_alphanumeric() && c.is_ascii() {
                assert_eq!(text, c.to_string());
            }
        }
    }

    #[test]
    fn an_escape_is_never_cut() {
        let text = escaped("a\u{202e}\n\\\x1bé日");
        assert_eq!(units(&text).collect::<Vec<_>>(), ["a", r"\u{202e}", r"\n", r"\\", r"\x1b", "é", "日"]);
        assert_eq!(units(r"\x1b\x1\u{20\").collect::<Vec<_>>(), [r"\x1b", r"\x1\", "u", "{", "2", "0", r"\"]);
        for (columns, shown) in [(4, r"a…"), (9, r"a…"), (10, r"a\u{202e}…"), (19, r"a\u{202e}\n\\\x1bé…")] {
            let mut out = String::new();
            assert_eq!(push_cut_plain(&mut out, &text, columns), width(shown));
            assert_eq!(out, shown, "{columns}");
        }
    }

    #[test]
    fn cut_to_columns() {
        for (text, columns, shown) in [
            ("nginx", 5, "nginx"),
            ("nginx", 4, "ngi…"),
            ("nginx", 1, "…"),
            ("nginx", 0, ""),
            ("", 0, ""),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("日本語", 1, "…"),
            ("ab\x1b", 6, "ab\\x1b"),
            ("ab\x1b", 5, "ab…"),
            ("\n\n", 3, "\\n…"),
        ] {
            let mut out = String::from("> ");
            let used = push_cut(&mut out, text, columns);
            assert_eq!(out, format!("> {shown}"), "{text:?} {columns}");
            assert_eq!(used, width(shown), "{text:?} {columns}");
        }
    }
}
