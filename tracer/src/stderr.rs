//! What is said to people: on stderr, whose reader may have gone (`tracer 2>&1 | head`). The standard macros
//! panic then.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

use crate::present::escape::Escaped;

/// Writes `text` as it is: what others have chosen is escaped in it.
pub fn say(text: impl Display) {
    // In one call, so that lines of several processes stay whole. Nobody is left to be told of an error.
    let _ = io::stderr().write_all(text.to_string().as_bytes());
}

/// Writes a line that begins with the program's name, escaped.
pub fn line(text: impl Display) {
    say(format_args!("tracer: {}\n", Escaped(&text.to_string())));
}
