//! How connections ended that ended well on this side: a server's idle time-out, a proxy that gives up. The other end may
//! have suffered.

use std::collections::{HashMap, VecDeque};

use tracer_stream::{Close, Event, Party, Verdict};

use super::{Ends, Tuple, party};

/// The most ends that are remembered; the oldest are forgotten first.
const MOST: usize = 4096;
/// Shorter silences are no time-out, µs.
const LEAST_US: u64 = 300_000;

/// An end.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Who owned this side.
    pub owner: Option<Party>,
    /// The namespace of this side.
    pub netns: Option<u32>,
    /// How it ended.
    pub verdict: Verdict,
    /// The time without payload before the end, µs.
    pub idle_us: u64,
    /// When.
    pub at_ns: u64,
}

/// The last ends after a silence, by local and remote end.
#[derive(Debug, Default)]
pub struct LastEnds {
    ends: HashMap<Tuple, Ended>,
    order: VecDeque<Tuple>,
}

impl LastEnds {
    /// The end of the side with these local and remote ends.
    #[must_use]
    pub fn get(&self, tuple: Tuple) -> Option<&Ended> {
        self.ends.get(&tuple)
    }

    pub(super) fn close(&mut self, event: &Event<'_>, close: &Close) {
        let Some(idle_us) = close.idle_us.filter(|idle| *idle >= LEAST_US) else { return };
        let Some(socket) = &event.socket else { return };
        let ends = Ends::of(socket);
        let tuple = ends.laddr.zip(ends.lport).zip(ends.raddr.zip(ends.rport));
        let Some(((laddr, lport), (raddr, rport))) = tuple else { return };
        let tuple = (laddr, lport, raddr, rport);
        let ended = Ended {
            owner: socket.owner.map(party),
            netns: ends.netns,
            verdict: close.verdict,
            idle_us,
            at_ns: event.boot_ns,
        };
        if self.ends.insert(tuple, ended).is_none() {
            self.order.push_back(tuple);
        }
        while self.order.len() > MOST {
            if let Some(oldest) = self.order.pop_front() {
                self.ends.remove(&oldest);
            }
        }
    }
}
