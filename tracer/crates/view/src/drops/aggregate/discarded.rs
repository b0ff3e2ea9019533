//! Discards that only the kernel's counters show, added up by counter and socket.

use std::net::IpAddr;

use tracer_stream::{Discard, Owner, Socket};

/// The most rows; later discards go to a row of their counter without a socket.
const MOST: usize = 1000;

/// The sum of a counter, for a socket if one is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discarded {
    /// The last one; `count` is the sum of all.
    pub discard: Discard,
    /// Network namespace.
    pub netns: Option<u32>,
    /// `tcp`, `udp`, `unknown`.
    pub proto: &'static str,
    /// The socket's own end.
    pub local: Option<(IpAddr, u16)>,
    /// The owner.
    pub owner: Option<Owner>,
    /// The times of the first and the last event.
    pub first_ns: u64,
    /// See `first_ns`.
    pub last_ns: u64,
}

/// All rows.
#[derive(Debug, Default)]
pub struct Discards {
    rows: Vec<Discarded>,
}

impl Discards {
    /// Returns the rows, highest counts first.
    #[must_use]
    pub fn rows(&self) -> Vec<&Discarded> {
        let mut rows: Vec<&Discarded> = self.rows.iter().collect();
        rows.sort_by_key(|row| (u64::MAX - row.discard.count, row.first_ns));
        rows
    }

    pub(super) fn add(&mut self, boot_ns: u64, discard: &Discard, socket: Option<&Socket<'_>>) {
        let full = self.rows.len() >= MOST;
        let socket = socket.filter(|_| !full);
        let mut new = Discarded {
            discard: discard.clone(),
            netns: socket.and_then(|socket| socket.netns),
            proto: socket.map_or("unknown", |socket| socket.proto),
            local: socket.and_then(|socket| socket.laddr.zip(socket.lport)),
            owner: socket.and_then(|socket| socket.owner).cloned(),
            first_ns: boot_ns,
            last_ns: boot_ns,
        };
        let same = |row: &&mut Discarded| {
            row.discard.counter == new.discard.counter
                && row.netns == new.netns
                && row.local == new.local
                && (full || row.discard.iface == new.discard.iface)
                && row.owner.as_ref().map(|owner| owner.pid) == new.owner.as_ref().map(|owner| owner.pid)
        };
        match self.rows.iter_mut().find(same) {
            Some(row) => {
                new.discard.count += row.discard.count;
                (row.discard, row.last_ns) = (new.discard, boot_ns);
            }
            None => {
                self.rows.push(new);
            }
        }
    }
}
