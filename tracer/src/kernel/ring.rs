//! The ring, drained in batches.

use std::{io, time::Duration};

use aya::maps::{MapData, RingBuf};
use tokio::{io::unix::AsyncFd, time::sleep};

/// After the first record has woken the agent it lets this much time pass, so that one wake-up
/// serves many records. With the time a drain takes, nothing waits longer than 50 ms.
const GATHER: Duration = Duration::from_millis(20);

/// Records handled between two looks at timers and signals: `RingBuf::next` never yields.
const BATCH: usize = 8192;

/// The ring.
pub struct Ring {
    fd: AsyncFd<RingBuf<MapData>>,
    /// The last drain found something: records may have come since without waking anybody.
    warm: bool,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("warm", &self.warm).finish_non_exhaustive()
    }
}

impl Ring {
    /// Takes the ring over. Call inside the runtime.
    ///
    /// # Errors
    /// If it cannot be registered for polling.
    pub fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        // SAFETY: the descriptor is the map's own; it stays open and the same as long as `ring` lives,
        // and `ring` lives in the `AsyncFd`.
        let fd = unsafe { AsyncFd::register(ring)? };
        Ok(Self { fd, warm: false })
    }

    /// Waits until there is something worth draining. Cancel safe.
    ///
    /// # Errors
    /// If polling fails.
    pub async fn ready(&mut self) -> io::Result<()> {
        if !self.warm {
            self.fd.readable_mut().await?.clear_ready();
        }
        // A record past the fill mark ends the gathering early.
        tokio::select! {
            () = sleep(GATHER) => {}
            full = self.fd.readable_mut() => full?.clear_ready(),
        }
        Ok(())
    }

    /// Hands out what is there, up to a batch. Returns how many records that were.
    pub fn drain(&mut self, mut take: impl FnMut(&[u8])) -> usize {
        let ring = self.fd.get_mut();
        let mut count = 0;
        while count < BATCH
            && let Some(record) = ring.next()
        {
            take(&record);
            count += 1;
        }
        self.warm = count > 0;
        count
    }

    /// Whether the last drain stopped at the batch limit: more may be there.
    #[must_use]
    pub const fn is_full_batch(count: usize) -> bool {
        count == BATCH
    }
}
