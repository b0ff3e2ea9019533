//! A writer that does not wait for a slow reader, up to a bound.
//!
//! A terminal, a pipe to `jq` or a busy disk may stall for a second: that must not cost events. So a
//! thread writes, and what it has not written yet waits in memory. At the bound the tracer waits, too:
//! then the ring fills and the loss is counted.

use std::{
    collections::VecDeque,
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use rustix::thread::CapabilitySet;

use crate::privilege::{Duty, Sandbox};

/// Bytes that may wait.
const BOUND: usize = 64 << 20;

#[derive(Debug, Default)]
struct Shared {
    chunks: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The thread is writing a chunk that it has taken out.
    writing: bool,
    /// Nothing more will come.
    closed: bool,
    error: Option<io::Error>,
}

#[derive(Debug, Default)]
struct Channel {
    shared: Mutex<Shared>,
    changed: Condvar,
}

impl Channel {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'g>(&self, guard: MutexGuard<'g, Shared>) -> MutexGuard<'g, Shared> {
        self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module. Dropping it waits until everything is written.
#[derive(Debug)]
pub struct Queue {
    channel: Arc<Channel>,
    thread: Option<JoinHandle<()>>,
}

impl Queue {
    /// Starts the thread that writes to `to`, and does nothing else in `sandbox`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn new(to: impl Write + Send + 'static, sandbox: Sandbox) -> io::Result<Self> {
        let channel = Arc::new(Channel::default());
        let its = Arc::clone(&channel);
        let thread = thread::Builder::new().name("writer".to_owned()).spawn(move || {
            sandbox.confine(Duty::Output, CapabilitySet::empty());
            write(&its, to);
        })?;
        Ok(Self { channel, thread: Some(thread) })
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// That of the writing.
    pub fn drain(&self) -> io::Result<()> {
        let mut shared = self.channel.lock();
        while shared.error.is_none() && (shared.writing || !shared.chunks.is_empty()) {
            shared = self.channel.wait(shared);
        }
        shared.error.take().map_or(Ok(()), Err)
    }
}

impl Write for Queue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut shared = self.channel.lock();
        while shared.error.is_none() && shared.bytes > BOUND {
            shared = self.channel.wait(shared);
        }
        if let Some(error) = shared.error.take() {
            return Err(error);
        }
        shared.bytes += bytes.len();
        shared.chunks.push_back(bytes.to_vec());
        self.channel.changed.notify_all();
        Ok(bytes.len())
    }

    /// Says only whether writing has failed: it does not wait.
    fn flush(&mut self) -> io::Result<()> {
        self.channel.lock().error.take().map_or(Ok(()), Err)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.channel.lock().closed = true;
        self.channel.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked: it has nothing to panic about.
            let _ = thread.join();
        }
    }
}

fn write(channel: &Channel, mut to: impl Write) {
    let mut shared = channel.lock();
    loop {
        while shared.chunks.is_empty() && !shared.closed {
            shared = channel.wait(shared);
        }
        if shared.chunks.is_empty() {
            return;
        }
        let chunks = mem::take(&mut shared.chunks);
        shared.writing = true;
        drop(shared);
        let mut result = Ok(());
        for chunk in &chunks {
            result = to.write_all(chunk);
            if result.is_err() {
                break;
            }
        }
        let result = result.and_then(|()| to.flush());
        shared = channel.lock();
        shared.bytes -= chunks.iter().map(Vec::len).sum::<usize>();
        shared.writing = false;
        if let Err(error) = result {
            shared.error = Some(error);
            shared.chunks.clear();
            shared.bytes = 0;
        }
        channel.changed.notify_all();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn everything_arrives_in_order() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut queue = Queue::new(writer, Sandbox::On).unwrap();
        let text: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
        let expected = text.clone();
        let reading = thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        for chunk in text.chunks(977) {
            queue.write_all(chunk).unwrap();
        }
        queue.drain().unwrap();
        drop(queue);
        assert_eq!(reading.join().unwrap(), expected);
    }

    #[test]
    fn a_reader_that_does_not_read_stalls_nobody_before_the_bound() {
        let (reader, writer) = io::pipe().unwrap();
        let mut queue = Queue::new(writer, Sandbox::On).unwrap();
        for _ in 0..1000 {
            queue.write_all(&[b'x'; 4096]).unwrap();
        }
        drop(reader);
        assert_eq!(queue.drain().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
