//! What has limited the speed of a connection's sending, by the kernel's own split of its time (`tcp_chrono`). How long
//! there was nothing to send is unknown: the kernel does not keep the age of a connection.

use tracer_stream::{Limit, Limited};

use super::row::Tcp;

impl Tcp {
    /// Returns the split, with the largest part of the time with data to send, or [`Limit::App`] if there was nothing to
    /// send for longer than all of that; `None` if the kernel did not give it.
    #[must_use]
    pub fn limited(&self) -> Option<Limited> {
        let (busy_us, peer_window_us, send_buffer_us) = (self.busy_us?, self.rwnd_limited_us?, self.sndbuf_limited_us?);
        let network_us = busy_us.saturating_sub(peer_window_us).saturating_sub(send_buffer_us);
        let mut limited = Limited { app_us: None, network_us, peer_window_us, send_buffer_us, by: Some(Limit::App) };
        let idle_us = self.idle_ms().unwrap_or(0).saturating_mul(1000);
        if busy_us > idle_us {
            limited.by = Limit::ALL.into_iter().max_by_key(|limit| limited.of(*limit));
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
            assert_eq!((limited.network_us, limited.by), (network, Some(by)), "{busy} {window} {buffer}");
        }
    }

    #[test]
    fn who_has_sent_nothing_for_longer_than_all_that_is_limited_by_the_program() {
        let idle = |unacked, notsent, last_sent, last_ack| Tcp {
            unacked: Some(unacked),
            notsent_bytes: Some(notsent),
            last_sent_ms: Some(last_sent),
            last_ack_ms: Some(last_ack),
            ..tcp(20_000, 11_000, 9_000)
        };
        let by = |tcp: Tcp| tcp.limited().unwrap().by.unwrap();
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
