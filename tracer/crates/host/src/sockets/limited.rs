//! What has limited the speed of a connection's sending, by the kernel's own split of its time (`tcp_chrono`).

use super::row::Tcp;

/// The split of the time with data to send. How long there was nothing to send is unknown: the kernel does not keep the
/// age of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Limited {
    /// Time for which the network (its congestion window, or the way) was the limit, µs.
    pub network_us: u64,
    /// Time for which the peer's receive window was, µs.
    pub peer_window_us: u64,
    /// Time for which the own send buffer was, µs.
    pub send_buffer_us: u64,
    /// The largest of them; `app` if there was nothing to send for longer than all of them.
    pub by: Limit,
}

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// There was nothing to send.
    App,
    /// The network.
    Network,
    /// The peer's receive window.
    PeerWindow,
    /// The own send buffer.
    SendBuffer,
}

impl Limit {
    /// Returns the word in the stream.
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

impl Limited {
    /// Returns the parts, the largest first.
    #[must_use]
    pub fn parts(&self) -> [(Limit, u64); 3] {
        let mut parts = [
            (Limit::PeerWindow, self.peer_window_us),
            (Limit::SendBuffer, self.send_buffer_us),
            (Limit::Network, self.network_us),
        ];
        parts.sort_by_key(|(_, us)| std::cmp::Reverse(*us));
        parts
    }
}

impl Tcp {
    /// Returns the split; `None` if the kernel did not give it.
    #[must_use]
    pub fn limited(&self) -> Option<Limited> {
        let (busy, window, buffer) = (self.busy_us?, self.rwnd_limited_us?, self.sndbuf_limited_us?);
        let network_us = busy.saturating_sub(window).saturating_sub(buffer);
        let mut limited = Limited { network_us, peer_window_us: window, send_buffer_us: buffer, by: Limit::App };
        let idle = self.idle_ms().unwrap_or(0).saturating_mul(1000);
        if busy > idle {
            let [(largest, _), ..] = limited.parts();
            limited.by = largest;
        }
        Some(limited)
    }

    /// Returns for how long nothing was to be sent, at least, ms; `None` if something is.
    #[must_use]
    pub fn idle_ms(&self) -> Option<u64> {
        let is_done = self.unacked == Some(0) && self.notsent_bytes == Some(0);
        // What was sent last was acknowledged by the last ACK, or by one before it.
        is_done.then(|| self.last_sent_ms.zip(self.last_ack_ms)).flatten().map(|(sent, ack)| sent.min(ack).into())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn tcp(busy: u64, window: u64, buffer: u64) -> Tcp {
        Tcp {
            busy_us: Some(busy),
            rwnd_limited_us: Some(window),
            sndbuf_limited_us: Some(buffer),
            unacked: Some(3),
            notsent_bytes: Some(0),
            last_sent_ms: Some(10),
            last_ack_ms: Some(5),
            ..Tcp::default()
        }
    }

    #[test]
    fn the_largest_part_has_its_name() {
        for (busy, window, buffer, network, by) in [
            (1000, 600, 100, 300, Limit::PeerWindow),
            (1000, 100, 600, 300, Limit::SendBuffer),
            (1000, 100, 100, 800, Limit::Network),
            (1000, 0, 0, 1000, Limit::Network),
            (0, 0, 0, 0, Limit::App),
            // The three were not read at the same moment.
            (500, 600, 0, 0, Limit::PeerWindow),
        ] {
            let limited = tcp(busy, window, buffer).limited().unwrap();
            assert_eq!((limited.network_us, limited.by), (network, by), "{busy} {window} {buffer}");
        }
    }

    #[test]
    fn who_has_sent_nothing_for_longer_than_all_that_is_limited_by_the_program() {
        let idle = |unacked, notsent, last_sent, last_ack| Tcp {
            unacked: Some(unacked),
            notsent_bytes: Some(notsent),
            last_sent_ms: Some(last_sent),
            last_ack_ms: Some(last_ack),
            ..tcp(20_000, 9_000, 9_000)
        };
        let by = |tcp: Tcp| tcp.limited().unwrap().by;
        assert_eq!(by(idle(0, 0, 30, 25)), Limit::App);
        assert_eq!(by(idle(0, 0, 30, 15)), Limit::PeerWindow, "the ACK took long");
        assert_eq!(by(idle(1, 0, 30, 30)), Limit::PeerWindow, "unacknowledged");
        assert_eq!(by(idle(0, 1, 30, 30)), Limit::PeerWindow, "unsent");
        assert_eq!(idle(0, 0, 30, 25).idle_ms(), Some(25));
    }

    #[test]
    fn without_the_kernels_split_there_is_none() {
        assert_eq!(Tcp::default().limited(), None);
        assert_eq!(Tcp { busy_us: None, ..tcp(1, 0, 0) }.limited(), None);
    }
}
