//! A writer that does not wait for a slow reader, up to a limit.
//!
//! A terminal, a pipe to `jq` or a busy disk may stall for a second: that must not cost events. So a
//! thread writes, and unwritten bytes wait in memory. At the bound the tracer takes nothing more out of
//! the rings ([`Gauge`]): then they fill, and the kernel side counts the loss. Lines that must still be
//! written, such as the closes at the end, wait as long as the reader reads at all. A reader that has
//! stopped does not keep the tracer from ending: the queue discards whole lines, and counts them.

use std::{
    collections::VecDeque,
    io::{self, Write},
    mem,
    os::fd::{AsFd, AsRawFd as _},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::thread::CapabilitySet;

use crate::privilege::{Duty, Sandbox};
use tokio::sync::Notify;

/// The most bytes that wait before the tracer pauses.
const BOUND: usize = 64 << 20;
/// The most bytes that wait, including those that must be written beyond the bound.
const LIMIT: usize = 2 * BOUND;
/// A reader that takes nothing for this long, while the tracer waits for it, has stopped.
const STALL: Duration = Duration::from_secs(3);
/// The interval in which the thread checks whether to give up a reader that has stopped.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
struct Shared {
    chunks: VecDeque<Vec<u8>>,
    /// Unwritten bytes, including those that the thread is writing.
    bytes: usize,
    /// Lines in `bytes`, including one that is written in part.
    lines: u64,
    /// Discarded lines.
    thrown: u64,
    /// Whether the reader seems to have stopped.
    stalled: bool,
    /// Whether nothing more will come.
    closed: bool,
    /// Whether the thread must end as soon as it can.
    abandoned: bool,
    error: Option<io::Error>,
}

impl Shared {
    fn is_done(&self) -> bool {
        self.bytes == 0 || self.error.is_some()
    }

    /// Discards everything that waits.
    fn throw_away(&mut self) {
        self.thrown += mem::take(&mut self.lines);
        self.chunks.clear();
        self.bytes = 0;
    }
}

#[derive(Debug, Default)]
struct Channel {
    shared: Mutex<Shared>,
    changed: Condvar,
    /// Signals that bytes were written, or that writing failed.
    progress: Notify,
}

impl Channel {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'g>(&self, guard: MutexGuard<'g, Shared>) -> MutexGuard<'g, Shared> {
        self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while `more` returns true; not longer than `patience` for a reader that takes nothing. Returns
    /// whether the reader has stopped.
    fn wait_while_read<'g>(
        &self,
        mut shared: MutexGuard<'g, Shared>,
        patience: Duration,
        more: impl Fn(&Shared) -> bool,
    ) -> (MutexGuard<'g, Shared>, bool) {
        let (mut since, mut bytes) = (Instant::now(), shared.bytes);
        while more(&shared) {
            if shared.bytes != bytes {
                (since, bytes) = (Instant::now(), shared.bytes);
            }
            let Some(left) = patience.checked_sub(since.elapsed()).filter(|left| !left.is_zero()) else {
                return (shared, true);
            };
            shared = self.changed.wait_timeout(shared, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        (shared, false)
    }
}

/// Shows how much waits.
#[derive(Clone, Debug)]
pub struct Gauge(Arc<Channel>);

impl Gauge {
    /// Whether events may be added.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let shared = self.0.lock();
        shared.bytes < BOUND || shared.error.is_some()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_done()
    }

    /// Waits until there is room. Cancel safe.
    pub async fn room(&self) {
        loop {
            let progress = self.0.progress.notified();
            if self.has_room() {
                return;
            }
            progress.await;
        }
    }

    /// Returns the lines discarded so far.
    #[must_use]
    pub fn thrown(&self) -> u64 {
        self.0.lock().thrown
    }
}

/// See the module. Dropping it waits until everything is written, as long as the reader reads at all.
#[derive(Debug)]
pub struct Queue {
    channel: Arc<Channel>,
    thread: Option<JoinHandle<()>>,
}

impl Queue {
    /// Starts the thread, which can do nothing but write to `to` in `sandbox`. If the reader stops, the count of
    /// discarded lines is exact only if `to` does not block.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn new(to: impl Write + AsFd + Send + 'static, sandbox: Sandbox) -> io::Result<Self> {
        let channel = Arc::new(Channel::default());
        let its = Arc::clone(&channel);
        let thread = thread::Builder::new().name("writer".to_owned()).spawn(move || {
            sandbox.confine(Duty::Output, CapabilitySet::empty());
            write(&its, to);
        })?;
        Ok(Self { channel, thread: Some(thread) })
    }

    /// Returns a gauge of this queue.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        Gauge(Arc::clone(&self.channel))
    }

    /// Waits until everything is written; until `enough`, if that comes first, or, if `hurry`, until the
    /// reader has stopped. Returns the lines discarded since the beginning.
    ///
    /// # Errors
    /// The error of the writing.
    pub async fn finish(&self, hurry: bool, enough: impl Future<Output = ()>) -> io::Result<u64> {
        let mut enough = std::pin::pin!(enough);
        loop {
            let progress = self.channel.progress.notified();
            {
                let mut shared = self.channel.lock();
                if shared.is_done() {
                    return shared.error.take().map_or(Ok(shared.thrown), Err);
                }
            }
            tokio::select! {
                () = progress => {}
                () = tokio::time::sleep(STALL), if hurry => break,
                () = &mut enough => break,
            }
        }
        self.channel.lock().abandoned = true;
        self.channel.changed.notify_all();
        // The thread counts what it has written, unless it is stuck in a call.
        let deadline = tokio::time::Instant::now() + 4 * LOOK;
        loop {
            let progress = self.channel.progress.notified();
            if self.channel.lock().is_done() || tokio::time::timeout_at(deadline, progress).await.is_err() {
                break;
            }
        }
        let mut shared = self.channel.lock();
        shared.throw_away();
        shared.error.take().map_or(Ok(shared.thrown), Err)
    }
}

impl Write for Queue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut shared = self.channel.lock();
        // Everything that waits takes memory.
        let fits = |shared: &Shared| shared.bytes + bytes.len() <= LIMIT || shared.bytes == 0;
        if !fits(&shared) && !shared.stalled {
            let full = |shared: &Shared| shared.error.is_none() && !fits(shared);
            (shared, _) = self.channel.wait_while_read(shared, STALL, full);
        }
        if let Some(error) = shared.error.take() {
            return Err(error);
        }
        if !fits(&shared) {
            // Cleared when the reader reads again.
            shared.stalled = true;
            shared.thrown += lines_in(bytes);
            return Ok(bytes.len());
        }
        shared.bytes += bytes.len();
        shared.lines += lines_in(bytes);
        shared.chunks.push_back(bytes.to_vec());
        self.channel.changed.notify_all();
        Ok(bytes.len())
    }

    /// Reports only whether writing has failed: it does not wait.
    fn flush(&mut self) -> io::Result<()> {
        self.channel.lock().error.take().map_or(Ok(()), Err)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let mut shared = self.channel.lock();
        shared.closed = true;
        self.channel.changed.notify_all();
        let stopped;
        (shared, stopped) = self.channel.wait_while_read(shared, STALL, |shared| !shared.is_done());
        let stopped = stopped || shared.abandoned;
        drop(shared);
        // A thread that waits for its reader ends with the process.
        if let Some(thread) = self.thread.take().filter(|_| !stopped) {
            // The thread has no code that panics.
            let _ = thread.join();
        }
    }
}

fn lines_in(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn write(channel: &Channel, mut to: impl Write + AsFd) {
    let mut shared = channel.lock();
    loop {
        while shared.chunks.is_empty() && !shared.closed && !shared.abandoned {
            shared = channel.wait(shared);
        }
        // One at a time, so that the memory of a written chunk is free at once.
        let Some(chunk) = shared.chunks.pop_front() else { return };
        drop(shared);
        let result = write_chunk(channel, &mut to, &chunk);
        drop(chunk);
        shared = channel.lock();
        let failed = result.is_err();
        if let Err(error) = result {
            shared.error = Some(error);
            shared.chunks.clear();
            (shared.bytes, shared.lines) = (0, 0);
        }
        let abandoned = shared.abandoned;
        if abandoned {
            shared.throw_away();
        }
        if failed || abandoned {
            channel.changed.notify_all();
            channel.progress.notify_waiters();
        }
        if abandoned {
            return;
        }
    }
}

/// Writes a chunk and keeps the counts. `false` if the queue has given up the reader.
fn write_chunk(channel: &Channel, to: &mut (impl Write + AsFd), mut rest: &[u8]) -> io::Result<bool> {
    while !rest.is_empty() {
        let count = match to.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => count.min(rest.len()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                await_room(to);
                0
            }
            Err(error) => return Err(error),
        };
        let (written, after) = rest.split_at(count);
        rest = after;
        let mut shared = channel.lock();
        if count > 0 {
            // The queue may have discarded them during the call.
            shared.bytes = shared.bytes.saturating_sub(written.len());
            shared.lines = shared.lines.saturating_sub(lines_in(written));
            shared.stalled = false;
            channel.changed.notify_all();
            channel.progress.notify_waiters();
        }
        if shared.abandoned {
            return Ok(false);
        }
    }
    to.flush()?;
    Ok(true)
}

/// Waits until there may be room, or for a moment.
fn await_room(to: &impl AsFd) {
    let fd = to.as_fd().as_raw_fd();
    let mut one = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one pollfd is passed, and it lives through the call. The next write shows the result.
    unsafe { libc::poll(&raw mut one, 1, LOOK.as_millis() as libc::c_int) };
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn finish(queue: &Queue, hurry: bool, enough: impl Future<Output = ()>) -> io::Result<u64> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(queue.finish(hurry, enough))
    }

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
        assert_eq!(finish(&queue, true, std::future::pending()).unwrap(), 0);
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
        assert!(queue.gauge().has_room());
        drop(reader);
        let error = finish(&queue, false, std::future::pending()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_is_not_read_is_counted_line_by_line() {
        const LINES: u64 = 10_000;
        let (mut reader, writer) = io::pipe().unwrap();
        // SAFETY: takes no pointers; the descriptor is this test's.
        unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        let mut queue = Queue::new(writer, Sandbox::On).unwrap();
        let line = [&[b'x'; 98][..], b"\n"].concat();
        for _ in 0..LINES {
            queue.write_all(&line).unwrap();
        }
        let thrown = finish(&queue, false, std::future::ready(())).unwrap();
        drop(queue);
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert!(thrown > 0 && !all.is_empty(), "{thrown}");
        // The last line may have been cut.
        assert_eq!(thrown + lines_in(&all), LINES);
    }

    #[test]
    fn beyond_the_limit_lines_are_thrown_away_until_it_reads_again() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut queue = Queue::new(writer, Sandbox::On).unwrap();
        let megabyte = [vec![b'x'; (1 << 20) - 1], b"\n".to_vec()].concat();
        let begun = Instant::now();
        for _ in 0..(LIMIT >> 20) + 3 {
            queue.write_all(&megabyte).unwrap();
        }
        assert!(begun.elapsed() >= STALL, "it waits for the reader first");
        assert!(!queue.gauge().has_room());
        let thrown = queue.gauge().thrown();
        // A pipe has room for less than one line.
        assert_eq!(thrown, 3);
        let reading = thread::spawn(move || io::copy(&mut reader, &mut io::sink()).unwrap());
        assert_eq!(finish(&queue, true, std::future::pending()).unwrap(), thrown);
        drop(queue);
        assert_eq!(reading.join().unwrap() + (thrown << 20), ((LIMIT as u64 >> 20) + 3) << 20);
    }
}
