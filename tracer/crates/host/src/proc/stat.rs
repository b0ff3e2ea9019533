//! The fields of /proc/PID/stat that identify a process, and that show what it is doing.
//!
//! The reader is our own because it reads this file for every process of the host, and `comm` may be any bytes.

use std::io::{self, Read};

use super::dir::decimal;

/// Room for the file: 52 numbers of at most 20 digits and a `comm` of at most 64 bytes (kernel
/// workers have longer ones than the 15 of a process).
const SIZE: usize = 2048;
/// Fields of proc_pid_stat(5); after the `comm`, field 3, the state, comes first.
const PPID_AFTER_COMM: usize = 4 - 3;
const UTIME_AFTER_COMM: usize = 14 - 3;
const STIME_AFTER_COMM: usize = 15 - 3;
const STARTTIME_AFTER_COMM: usize = 22 - 3;

/// The result of [`read`].
pub(super) struct Stat {
    buf: [u8; SIZE],
    len: usize,
    comm: (usize, usize),
    state: u8,
    /// Start of the process, clock ticks since boot.
    pub(super) start_ticks: u64,
}

impl Stat {
    /// Returns `comm`, any bytes.
    pub(super) fn comm(&self) -> &[u8] {
        self.buf.get(self.comm.0..self.comm.1).unwrap_or_default()
    }

    /// Whether it has exited: as a first thread, while others may be left, or until its parent waits for it.
    pub(super) fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    /// Returns the letter of its state.
    pub(super) fn state(&self) -> char {
        char::from(self.state)
    }

    /// Returns the id of its parent.
    pub(super) fn parent(&self) -> Option<u32> {
        self.number(PPID_AFTER_COMM)?.try_into().ok()
    }

    /// Returns the processor time of all its threads, clock ticks.
    pub(super) fn cpu_ticks(&self) -> Option<u64> {
        self.number(UTIME_AFTER_COMM)?.checked_add(self.number(STIME_AFTER_COMM)?)
    }

    fn number(&self, after_comm: usize) -> Option<u64> {
        let rest = self.buf.get(self.comm.1..self.len)?.strip_prefix(b") ")?;
        decimal(rest.split(|&c| c == b' ').nth(after_comm)?)
    }
}

/// Reads a /proc/PID/stat; `None` if it is not one.
pub(super) fn read(mut file: impl Read) -> io::Result<Option<Stat>> {
    let mut stat = Stat { buf: [0; SIZE], len: 0, comm: (0, 0), state: 0, start_ticks: 0 };
    let mut len = 0;
    while let Some(room) = stat.buf.get_mut(len..).filter(|room| !room.is_empty()) {
        match file.read(room) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let Some((comm, state, start_ticks)) = stat.buf.get(..len).and_then(parse) else {
        return Ok(None);
    };
    (stat.comm, stat.state) = (comm, state);
    (stat.start_ticks, stat.len) = (start_ticks, len);
    Ok(Some(stat))
}

/// Returns the range of `comm`, the state, and the start.
fn parse(text: &[u8]) -> Option<((usize, usize), u8, u64)> {
    // `comm` may hold parentheses and spaces; the other fields hold no parentheses.
    let open = text.iter().position(|&c| c == b'(')? + 1;
    let close = text.iter().rposition(|&c| c == b')')?;
    if close < open {
        return None;
    }
    let rest = text.get(close + 1..)?.strip_prefix(b" ")?;
    let starttime = rest.split(|&c| c == b' ').nth(STARTTIME_AFTER_COMM)?;
    Some(((open, close), *rest.first()?, decimal(starttime)?))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::proc::tree;
    use tracer_fuzz::fuzz;

    #[test]
    fn comm_may_hold_anything() {
        for comm in ["bash", "a) S 1 2 3", "(", ")", "", "a b", "kworker/u8:3-events_unbound", "new\nline"] {
            let stat = read(tree::stat(7, comm, 123_456).as_bytes()).unwrap().unwrap();
            assert_eq!((stat.comm(), stat.start_ticks), (comm.as_bytes(), 123_456), "{comm:?}");
            assert_eq!((stat.state(), stat.parent(), stat.cpu_ticks()), ('S', Some(1), Some(57)), "{comm:?}");
        }
    }

    #[test]
    fn comm_may_be_other_than_utf8() {
        let text = tree::stat(7, "XX", 5).replace("XX", "\u{1}\u{2}");
        let bytes: Vec<u8> = text.bytes().map(|b| if b < 3 { b + 0xfd } else { b }).collect();
        assert_eq!(read(&bytes[..]).unwrap().unwrap().comm(), b"\xfe\xff");
    }

    #[test]
    fn garbage_has_no_start_that_is_not_there() {
        let seeds = ["bash", "a) S 1 (2", "kworker/u8:3"].map(|comm| tree::stat(7, comm, 123_456).into_bytes());
        fuzz(&seeds, |input| {
            if let Some(stat) = read(input).unwrap() {
                let text = [b"(", stat.comm(), b") "].concat();
                assert!(input.windows(text.len()).any(|window| window == text), "{input:?}");
                let start = stat.start_ticks.to_string();
                assert!(input.windows(start.len()).any(|window| window == start.as_bytes()), "{input:?}");
            }
        });
    }

    #[test]
    fn what_is_cut_is_none() {
        let whole = tree::stat(7, "bash", 123_456);
        let end = whole.find("123456").unwrap();
        for len in 0..end {
            assert!(read(&whole.as_bytes()[..len]).unwrap().is_none(), "{len}");
        }
        assert!(read(&b")("[..]).unwrap().is_none());
    }
}
