//! What is said to people: on stderr, whose reader may have gone (`tracer 2>&1 | head`) or stopped reading
//! (`tracer 2>&1 | less`). The standard macros panic in the one case, and wait for ever in the other.

use std::{
    fmt::Display,
    io::{self, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::present::escape::Escaped;

/// How long a reader that has stopped is waited for, once, in ms.
const STALL: libc::c_int = 3000;

/// A pipe that can be written to takes so much without waiting (`PIPE_BUF`, pipe(7)).
const PIECE: usize = 4096;

/// Writes `text` as it is: what others have chosen is escaped in it. What cannot be written is lost: nobody
/// is left to be told.
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
