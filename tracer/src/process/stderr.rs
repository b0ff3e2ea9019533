//! Messages to people: on stderr, whose reader may have gone (`tracer 2>&1 | head`) or stopped reading (`tracer 2>&1 |
//! less`). The standard macros panic in the first case, and wait forever in the second.

use std::{
    fmt::Display,
    io::{self, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::view::escape::Escaped;

/// How long to wait, once, for a reader that has stopped, in ms.
const STALL: libc::c_int = 3000;

/// The bytes that a writable pipe takes without waiting (`PIPE_BUF`, pipe(7)).
const PIECE: usize = 4096;

/// Writes `text` as it is: the caller escapes foreign parts. Unwritable text is lost: no reader is left.
pub fn say(text: impl Display) {
    for piece in text.to_string().as_bytes().chunks(PIECE) {
        // In one call, so that lines of several processes stay whole.
        if !has_room() || io::stderr().write_all(piece).is_err() {
            return;
        }
    }
}

/// Writes a line that begins with the program's name, escaped.
pub fn line(text: impl Display) {
    say(format_args!("tracer: {}\n", Escaped(&text.to_string())));
}

fn has_room() -> bool {
    static STALLED: AtomicBool = AtomicBool::new(false);
    let patience = if STALLED.load(Ordering::Relaxed) { 0 } else { STALL };
    let mut one = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one pollfd is passed, and it lives through the call.
    let stalled = unsafe { libc::poll(&raw mut one, 1, patience) } == 0;
    STALLED.store(stalled, Ordering::Relaxed);
    !stalled
}
