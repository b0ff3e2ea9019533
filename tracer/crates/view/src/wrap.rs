//! One wrap: text is divided into lines between words. Nothing is lost: a word that is longer than a line goes on in the
//! next one, and is divided between characters, of which an escape is one.

use crate::escape;

/// The columns of a paragraph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paragraph {
    /// The column in which its first line begins: something is already there.
    pub first: usize,
    /// The column in which further lines begin.
    pub rest: usize,
    /// The columns of a line.
    pub columns: usize,
}

impl Paragraph {
    /// Appends `text`, which is escaped or our own, without a newline at its end. Returns the number of newlines.
    pub fn push(self, out: &mut String, text: &str) -> usize {
        self.push_words(out, text.split(' '))
    }

    /// Appends words, which are escaped or our own, and stay whole where they fit into a line.
    pub fn push_words<'a>(self, out: &mut String, words: impl IntoIterator<Item = &'a str>) -> usize {
        let Self { first, rest, columns } = self;
        let mut lines = 0;
        let mut column = first;
        let mut begins = true;
        let mut next_line = |out: &mut String| {
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', rest));
            lines += 1;
            rest
        };
        for word in words {
            let width = escape::width(word);
            let gap = usize::from(!begins);
            let is_too_long = width > 0 && column.saturating_add(gap + width) > columns;
            if is_too_long && (!begins || column > rest) {
                column = next_line(out);
            } else if !begins {
                out.push(' ');
                column += 1;
            }
            begins = false;
            if column.saturating_add(width) <= columns {
                out.push_str(word);
                column += width;
                continue;
            }
            for unit in escape::units(word) {
                let width = escape::width(unit);
                if column > rest && column + width > columns {
                    column = next_line(out);
                }
                out.push_str(unit);
                column += width;
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(text: &str, first: usize, rest: usize, columns: usize) -> String {
        let mut out = "-".repeat(first);
        let lines = Paragraph { first, rest, columns }.push(&mut out, text);
        assert_eq!(lines, out.matches('\n').count());
        out
    }

    #[test]
    fn lines_end_between_words() {
        for (text, first, rest, columns, shown) in [
            ("", 2, 2, 10, "--"),
            ("one two", 0, 0, 7, "one two"),
            ("one two", 0, 0, 6, "one\ntwo"),
            ("one two three", 2, 4, 9, "--one two\n    three"),
            ("ss -lnt  # queues", 0, 2, 17, "ss -lnt  # queues"),
            ("ss -lnt  # queues", 0, 2, 10, "ss -lnt  #\n  queues"),
            ("ss -lnt  # queues", 0, 2, 9, "ss -lnt\n  #\n  queues"),
            ("日本 日本", 0, 0, 8, "日本\n日本"),
            ("abcdef", 6, 2, 9, "------\n  abcdef"),
        ] {
            assert_eq!(wrapped(text, first, rest, columns), shown, "{text:?} {columns}");
        }
    }

    #[test]
    fn a_word_longer_than_a_line_goes_on_in_the_next() {
        assert_eq!(wrapped("abcdefghij", 0, 0, 4), "abcd\nefgh\nij");
        assert_eq!(wrapped("ab cdefghij", 0, 2, 6), "ab\n  cdef\n  ghij");
        assert_eq!(wrapped("日本語", 0, 0, 3), "日\n本\n語");
    }

    #[test]
    fn an_escape_stays_whole() {
        assert_eq!(wrapped(r"ab\u{202e}\x1b\\\n", 0, 0, 10), "ab\\u{202e}\n\\x1b\\\\\\n");
        assert_eq!(wrapped(r"ab\u{202e}\x1b", 0, 0, 9), "ab\n\\u{202e}\n\\x1b");
        // Not even a line that is too narrow divides it.
        assert_eq!(wrapped(r"a\u{202e}b", 0, 0, 3), "a\n\\u{202e}\nb");
    }

    #[test]
    fn no_line_is_longer_and_nothing_is_lost() {
        let mut text = String::new();
        escape::push(&mut text, &format!("{} \u{1b}[2J {}", "word ".repeat(40), "\u{202e}日é\n".repeat(40)));
        for columns in 20..120 {
            let shown = wrapped(&text, 0, 4, columns);
            for line in shown.lines() {
                assert!(escape::width(line) <= columns && line.trim_end() == line, "{line:?}");
            }
            let without = |text: &str| text.replace(['\n', ' '], "");
            assert_eq!(without(&shown), without(&text));
        }
    }
}
