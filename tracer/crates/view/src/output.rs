//! The output of presenters.

use std::io::{self, Write};

/// Bytes that are gathered before they are written without a flush.
const FULL: usize = 64 * 1024;

/// Lines on their way to a file, a pipe or a terminal. [`Output::flush`] writes them at the end of each
/// batch of events; before that they are written only if there are many. After an error the output
/// writes nothing more.
#[derive(Debug)]
pub struct Output<W> {
    to: W,
    lines: Vec<u8>,
    count: u64,
    error: Option<io::Error>,
}

impl<W: Write> Output<W> {
    /// Makes an output that writes to `to`, which needs no buffer of its own.
    pub fn new(to: W) -> Self {
        Self { to, lines: Vec::with_capacity(FULL + 4096), count: 0, error: None }
    }

    /// Returns the buffer, to append a whole line; [`Output::line_done`] must follow.
    pub(super) fn line(&mut self) -> &mut Vec<u8> {
        &mut self.lines
    }

    /// Notes that a line for an event is complete.
    pub(super) fn line_done(&mut self) {
        self.count += 1;
        if self.lines.len() >= FULL {
            self.flush();
        }
    }

    /// Writes the gathered lines. Keeps an error for [`Output::error`].
    pub fn flush(&mut self) {
        if self.error.is_none()
            && let Err(error) = self.to.write_all(&self.lines).and_then(|()| self.to.flush())
        {
            self.error = Some(error);
        }
        self.lines.clear();
    }

    /// Returns the error that ended the writing: the reader is gone (`BrokenPipe`), the disk is full.
    pub fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// Returns the number of printed events.
    pub fn printed(&self) -> u64 {
        self.count
    }

    /// Returns the argument of [`Output::new`].
    pub fn into_inner(self) -> W {
        self.to
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Takes this many bytes, then fails.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 { Err(io::Error::from_raw_os_error(libc::ENOSPC)) } else { Ok(taken) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whole_batches_are_written() {
        let mut output = Output::new(Vec::new());
        output.line().extend(b"one\n");
        output.line_done();
        assert!(output.to.is_empty());
        output.line().extend(b"two\n");
        output.line_done();
        output.flush();
        assert_eq!(output.printed(), 2);
        assert_eq!(output.into_inner(), b"one\ntwo\n");
    }

    #[test]
    fn much_is_written_at_once() {
        let mut output = Output::new(Vec::new());
        output.line().extend([b'x'; FULL]);
        output.line_done();
        assert_eq!(output.to.len(), FULL);
    }

    #[test]
    fn an_error_is_kept_and_ends_the_writing() {
        let mut output = Output::new(Full(6));
        for _ in 0..3 {
            output.line().extend(b"four");
            output.line_done();
            output.flush();
        }
        assert_eq!(output.error().unwrap().raw_os_error(), Some(libc::ENOSPC));
        assert!(output.line().is_empty());
    }
}
