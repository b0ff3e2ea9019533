//! How serde_json writes the stream: as JSON that a terminal can show.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};

use super::super::escape;

/// Escapes, beyond JSON's rules, everything that a terminal would obey: the value stays the same for a program, and a
/// person may be looking.
#[derive(Debug)]
struct Terminal;

impl Formatter for Terminal {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, to: &mut W, text: &str) -> io::Result<()> {
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return to.write_all(text.as_bytes());
        }
        for c in text.chars() {
            if escape::is_plain(c) {
                to.write_all(c.encode_utf8(&mut [0; 4]).as_bytes())?;
            } else {
                escaped(to, c)?;
            }
        }
        Ok(())
    }

    fn write_char_escape<W: Write + ?Sized>(&mut self, to: &mut W, escape: CharEscape) -> io::Result<()> {
        match escape {
            CharEscape::Quote => to.write_all(b"\\\""),
            CharEscape::ReverseSolidus => to.write_all(b"\\\\"),
            CharEscape::Solidus => to.write_all(b"/"),
            CharEscape::LineFeed => to.write_all(b"\\n"),
            CharEscape::CarriageReturn => to.write_all(b"\\r"),
            CharEscape::Tab => to.write_all(b"\\t"),
            CharEscape::Backspace => escaped(to, '\u{8}'),
            CharEscape::FormFeed => escaped(to, '\u{c}'),
            CharEscape::AsciiControl(byte) => escaped(to, byte.into()),
        }
    }
}

fn escaped<W: Write + ?Sized>(to: &mut W, c: char) -> io::Result<()> {
    c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(to, "\\u{unit:04x}"))
}

/// Appends a value.
pub fn append<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let written = value.serialize(&mut Serializer::with_formatter(out, Terminal));
    // Only a map whose keys are no strings fails: no type of the stream has one.
    debug_assert!(written.is_ok(), "{written:?}");
}

/// Appends a line of one object.
pub fn line<T: Serialize + ?Sized>(out: &mut Vec<u8>, object: &T) {
    append(out, object);
    out.push(b'\n');
}

/// Appends the members of an object, each with a comma before it.
pub fn members<T: Serialize + ?Sized>(out: &mut Vec<u8>, object: &T) {
    let begin = out.len();
    append(out, object);
    // The closing brace is the caller's.
    out.pop();
    if out.len() == begin + 1 {
        out.truncate(begin);
    } else if let Some(brace) = out.get_mut(begin) {
        *brace = b',';
    }
}
