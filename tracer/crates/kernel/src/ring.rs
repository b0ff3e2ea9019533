//! The ring, drained in batches.

use std::{io, time::Duration};

use aya::maps::{Array, MapData, RingBuf};
use tokio::{io::unix::AsyncFd, time::sleep};

/// How long the agent lets records gather after the first one has woken it, so that one wake-up serves many. Including
/// the time of a drain, no record waits longer than 50 ms.
const GATHER: Duration = Duration::from_millis(20);

/// The most records between two looks at timers and signals: `RingBuf::next` never yields.
const BATCH: usize = 8192;

/// The ring.
pub struct Ring {
    fd: AsyncFd<RingBuf<MapData>>,
    /// Set while no drain is scheduled: the next record then wakes the agent.
    waiting: Array<MapData, u32>,
    mood: Mood,
    /// [`Ring::ready`] has returned, and no drain has followed yet.
    due: bool,
    bytes: u32,
    received: u64,
}

/// The fill of a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    /// Its size.
    pub bytes: u32,
    /// The most bytes that waited in it.
    pub highest: u32,
}

/// How likely it is that there is something to drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// The last drain found records: look again soon, without a wake-up.
    Warm,
    /// The last drain found nothing: ask for a wake-up. A record from before the flag was set wakes no reader, so look
    /// once more all the same.
    Cooling,
    /// No record came: sleep until a record wakes the agent.
    Asleep,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("mood", &self.mood).finish_non_exhaustive()
    }
}

impl Ring {
    /// Takes over the ring of `bytes` bytes, and the flag that asks the kernel side to wake its reader. Call inside the
    /// runtime.
    ///
    /// # Errors
    /// If it cannot be registered for polling.
    pub fn new(ring: RingBuf<MapData>, waiting: Array<MapData, u32>, bytes: u32) -> io::Result<Self> {
        // SAFETY: the descriptor is the map's own; it stays open and the same as long as `ring` lives,
        // and `ring` lives in the `AsyncFd`.
        let fd = unsafe { AsyncFd::register(ring)? };
        Ok(Self { fd, waiting, mood: Mood::Warm, due: false, bytes, received: 0 })
    }

    /// Waits until a drain is worth while. Cancel safe.
    ///
    /// # Errors
    /// If polling fails.
    pub async fn ready(&mut self) -> io::Result<()> {
        match self.mood {
            Mood::Warm => {}
            Mood::Cooling => self.waiting.set(0, 1, 0).map_err(io::Error::other)?,
            Mood::Asleep => {
                self.fd.readable_mut().await?.clear_ready();
                self.mood = Mood::Warm;
            }
        }
        // The record that crosses the fill mark ends the gathering early.
        tokio::select! {
            () = sleep(GATHER) => {}
            full = self.fd.readable_mut() => full?.clear_ready(),
        }
        self.due = true;
        Ok(())
    }

    /// Passes up to a batch of records to `take`. Returns their number.
    pub fn drain(&mut self, take: impl FnMut(&[u8])) -> usize {
        self.drain_while(|| true, take)
    }

    /// The same while there is room for the results: asked before each record.
    pub fn drain_while(&mut self, mut has_room: impl FnMut() -> bool, mut take: impl FnMut(&[u8])) -> usize {
        let ring = self.fd.get_mut();
        let mut count = 0;
        while count < BATCH
            && has_room()
            && let Some(record) = ring.next()
        {
            take(&record);
            count += 1;
        }
        self.mood = match (count, self.mood) {
            (1.., _) => Mood::Warm,
            // A drain in between, without a wake-up: the kernel side was not asked for one.
            (0, mood) if !self.due => mood,
            (0, Mood::Warm) => Mood::Cooling,
            (0, Mood::Cooling | Mood::Asleep) => Mood::Asleep,
        };
        self.due = false;
        self.received += count as u64;
        count
    }

    /// Records handed out so far.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// The highest fill so far.
    #[must_use]
    pub fn fill(&self) -> Fill {
        Fill { bytes: self.bytes, highest: self.waiting.get(&1, 0).unwrap_or(0) }
    }

    /// Whether the last drain stopped at the batch limit: more may be there.
    #[must_use]
    pub const fn is_full_batch(count: usize) -> bool {
        count == BATCH
    }
}
