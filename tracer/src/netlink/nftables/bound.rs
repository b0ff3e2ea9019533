//! How much of a namespace's rules is read. An unprivileged user may own the namespace and choose all of it.

use std::{io, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;

/// Messages after which the clock is looked at.
const LOOK: u32 = 64;

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rules.
    pub rules: usize,
    /// Chains.
    pub chains: usize,
    /// Sets and maps; of more none is looked into.
    pub sets: usize,
    /// Elements of all sets and maps together; what does not fit is not looked into.
    pub elements: usize,
    /// What the kernel tells, in bytes.
    pub bytes: usize,
    /// Time of a processor.
    pub time: Duration,
}

/// Those of one reading of one namespace.
pub const LIMITS: Limits = Limits {
    rules: 20_000,
    chains: 10_000,
    sets: 10_000,
    elements: 100_000,
    bytes: 16 << 20,
    time: Duration::from_millis(400),
};

/// Why the rules of a namespace are not known.
#[derive(Debug, Error)]
pub enum Unread {
    /// The kernel did not tell them.
    #[error(transparent)]
    Refused(#[from] io::Error),
    /// There are more than are read.
    #[error("there are more than {0} {1}")]
    TooMany(usize, &'static str),
    /// To read them takes too long.
    #[error("reading the rules takes more than {} ms", .0.as_millis())]
    TooLong(Duration),
    /// Each time another generation at its end than at its beginning.
    #[error("the rules keep changing while they are read")]
    Changing,
    /// The trace has ended meanwhile.
    #[error("the trace has ended")]
    Ended,
}

/// What is left of the limits.
#[expect(missing_debug_implementations, reason = "a closure has none")]
pub struct Budget<'s> {
    limits: Limits,
    bytes: usize,
    until: Duration,
    looked: u32,
    ended: &'s dyn Fn() -> bool,
}

/// The time that this thread has had of a processor.
#[must_use]
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

impl<'s> Budget<'s> {
    /// A whole one. `ended`: nobody waits for the answer any more.
    pub fn new(limits: Limits, ended: &'s dyn Fn() -> bool) -> Self {
        Self { limits, bytes: limits.bytes, until: processor_time() + limits.time, looked: 0, ended }
    }

    /// The limits.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Bytes that were read.
    pub const fn read(&self) -> usize {
        self.limits.bytes - self.bytes
    }

    /// One more message was read.
    pub fn spend(&mut self, message: &[u8]) -> Result<(), Unread> {
        self.bytes =
            self.bytes.checked_sub(message.len()).ok_or(Unread::TooMany(self.limits.bytes, "bytes of rules"))?;
        self.looked += 1;
        if self.looked.is_multiple_of(LOOK) {
            self.look()?;
        }
        Ok(())
    }

    /// Whether there is time left.
    pub fn look(&self) -> Result<(), Unread> {
        if (self.ended)() {
            return Err(Unread::Ended);
        }
        if processor_time() > self.until { Err(Unread::TooLong(self.limits.time)) } else { Ok(()) }
    }
}
