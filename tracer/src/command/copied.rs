//! A writer that keeps a copy of its output, if a test asks for it.

use std::io::{self, Write};

/// See the module.
#[derive(Debug)]
pub struct Copied<W> {
    to: W,
    copy: Option<Vec<u8>>,
}

impl<W> Copied<W> {
    /// Writes to `to`; `keeps`: with a copy.
    pub fn new(to: W, keeps: bool) -> Self {
        Self { to, copy: keeps.then(Vec::new) }
    }

    /// The writer and the copy.
    pub fn into_parts(self) -> (W, Vec<u8>) {
        (self.to, self.copy.unwrap_or_default())
    }
}

impl<W: Write> Write for Copied<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        if let Some(copy) = &mut self.copy {
            copy.extend_from_slice(bytes.get(..written).unwrap_or(bytes));
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
