//! Limits on reading a namespace's rules: an unprivileged user may own the namespace and choose all of them.

use std::{io, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;

/// The budget reads the clock once in this many messages.
const LOOK: u32 = 64;

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rules.
    pub rules: usize,
    /// Chains.
    pub chains: usize,
    /// Sets and maps; above it none is read.
    pub sets: usize,
    /// Elements of all sets and maps together; the sets beyond it are not read.
    pub elements: usize,
    /// Bytes received from the kernel.
    pub bytes: usize,
    /// Processor time.
    pub time: Duration,
}

/// The limits for one reading of one namespace.
pub const LIMITS: Limits = Limits {
    rules: 20_000,
    chains: 10_000,
    sets: 10_000,
    elements: 100_000,
    bytes: 16 << 20,
    time: Duration::from_millis(400),
};

/// Why the rules of a namespace are unknown.
#[derive(Debug, Error)]
pub enum Unread {
    /// The kernel refused.
    #[error(transparent)]
    Refused(#[from] io::Error),
    /// The namespace has more than the limit.
    #[error("there are more than {0} {1}")]
    TooMany(usize, &'static str),
    /// Reading takes too long.
    #[error("reading the rules takes more than {} ms", .0.as_millis())]
    TooLong(Duration),
    /// The generation changed during each attempt.
    #[error("the rules keep changing while they are read")]
    Changing,
    /// The trace ended meanwhile.
    #[error("the trace has ended")]
    Ended,
}

/// The rest of the limits.
#[expect(missing_debug_implementations, reason = "a closure has none")]
pub struct Budget<'s> {
    limits: Limits,
    bytes: usize,
    until: Duration,
    looked: u32,
    ended: &'s dyn Fn() -> bool,
}

/// Returns the processor time of this thread.
#[must_use]
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

impl<'s> Budget<'s> {
    /// Makes a full budget. `ended`: whether the trace has ended, so that the answer is no longer needed.
    pub fn new(limits: Limits, ended: &'s dyn Fn() -> bool) -> Self {
        Self { limits, bytes: limits.bytes, until: processor_time() + limits.time, looked: 0, ended }
    }

    /// Returns the limits.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the bytes read so far.
    pub const fn read(&self) -> usize {
        self.limits.bytes - self.bytes
    }

    /// Counts another message.
    pub fn spend(&mut self, message: &[u8]) -> Result<(), Unread> {
        self.bytes =
            self.bytes.checked_sub(message.len()).ok_or(Unread::TooMany(self.limits.bytes, "bytes of rules"))?;
        self.looked += 1;
        if self.looked.is_multiple_of(LOOK) {
            self.look()?;
        }
        Ok(())
    }

    /// Checks that there is time left.
    pub fn look(&self) -> Result<(), Unread> {
        if (self.ended)() {
            return Err(Unread::Ended);
        }
        if processor_time() > self.until { Err(Unread::TooLong(self.limits.time)) } else { Ok(()) }
    }
}
