//! What limited a sender, over the life of its connection.

use schemars::JsonSchema;
use serde::Serialize;

/// The limit that took most of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// This side had nothing to send.
    App,
    /// The congestion window: data was under way.
    Network,
    /// The peer's receive window was full.
    PeerWindow,
    /// The send buffer of this side was full.
    SendBuffer,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::App, Self::Network, Self::PeerWindow, Self::SendBuffer];

    /// The name in the stream.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Network => "network",
            Self::PeerWindow => "peer_window",
            Self::SendBuffer => "send_buffer",
        }
    }
}

/// The kernel's split of a sender's time (commit 05b055e89121), exact to one tick of the kernel's clock for each change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Limited {
    /// It had nothing to send, from the end of the handshake on; `null` for a connection that is older than the trace.
    pub app_us: Option<u64>,
    /// Data was under way, and nothing else limited it.
    pub network_us: u64,
    /// The peer's receive window was full: the peer's program did not read.
    pub peer_window_us: u64,
    /// The send buffer of this side was full, or too small.
    pub send_buffer_us: u64,
    /// The largest of them; `null` if it is unknown.
    pub by: Option<Limit>,
}

impl Limited {
    /// Makes the split of a connection that was established for `life_us`, if that is known.
    #[must_use]
    pub fn new(life_us: Option<u64>, [network_us, peer_window_us, send_buffer_us]: [u64; 3]) -> Self {
        let busy_us = network_us.saturating_add(peer_window_us).saturating_add(send_buffer_us);
        let app_us = life_us.map(|life| life.saturating_sub(busy_us));
        let times = [app_us.unwrap_or(0), network_us, peer_window_us, send_buffer_us];
        // Without its idle time the largest of the others need not be the largest of all.
        let most = app_us.and(times.iter().max().copied()).filter(|most| *most > 0);
        let by = most.and_then(|most| Limit::ALL.into_iter().zip(times).find(|(_, time)| *time == most));
        Self { app_us, network_us, peer_window_us, send_buffer_us, by: by.map(|(limit, _)| limit) }
    }

    /// The time of one limit, µs; 0 if it is unknown.
    #[must_use]
    pub fn of(&self, limit: Limit) -> u64 {
        match limit {
            Limit::App => self.app_us.unwrap_or(0),
            Limit::Network => self.network_us,
            Limit::PeerWindow => self.peer_window_us,
            Limit::SendBuffer => self.send_buffer_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_time_names_the_limit() {
        let idle = Limited::new(Some(100), [10, 20, 5]);
        assert_eq!((idle.app_us, idle.by), (Some(65), Some(Limit::App)));
        assert_eq!(Limit::ALL.map(|limit| idle.of(limit)), [65, 10, 20, 5]);
        assert_eq!(Limited::new(Some(100), [10, 80, 5]).by, Some(Limit::PeerWindow));
        assert_eq!(Limited::new(Some(100), [96, 0, 0]).by, Some(Limit::Network));
        let older = Limited::new(None, [0, 0, 7]);
        assert_eq!((older.app_us, older.by), (None, None), "it may have been idle for longer");
        assert_eq!(Limited::new(Some(10), [8, 4, 0]).app_us, Some(0), "ticks are coarse");
        assert_eq!(Limited::new(Some(0), [0; 3]).by, None);
    }
}
