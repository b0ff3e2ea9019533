//! What limited a connection, from the record of its close.

use tracer_common::{
    record::{CloseRecord, TcpLimits},
    tcp::TcpState,
};
use tracer_stream::Limited;

use super::connection::Connection;

/// The figures of the way between the ends; `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// What limited this side as a sender.
    pub limited: Option<Limited>,
    /// Bytes a second.
    pub delivery_rate: Option<u64>,
    /// Payload bytes.
    pub retransmitted_bytes: Option<u64>,
    /// Segments.
    pub out_of_order: Option<u32>,
    /// Segments.
    pub reordering: Option<u32>,
    /// Segments.
    pub dsack: Option<u32>,
}

/// The figures of a connection that was established. `known`: its counters are the kernel's.
pub fn way(connection: &Connection, record: &CloseRecord, known: bool) -> Way {
    let connecting = [TcpState::SynSent as u8, TcpState::SynRecv as u8].contains(&record.socket.old);
    if !known || connecting {
        return Way::default();
    }
    let TcpLimits { ticks, tick_ns, rate_delivered, rate_interval_us, mss, out_of_order, .. } = record.limits;
    let again = record.tcp.total_retrans != 0;
    let us = |ticks: u32| u64::from(ticks) * u64::from(tick_ns) / 1000;
    let life_us = Connection::between_us(connection.established_ns, record.socket.header.boot_ns);
    let rate = || {
        let bytes = u64::from(rate_delivered).checked_mul(mss.into())?.checked_mul(1_000_000)?;
        bytes.checked_div(rate_interval_us.into())
    };
    Way {
        limited: (tick_ns != 0).then(|| Limited::new(life_us, ticks.map(us))),
        delivery_rate: rate().filter(|rate| *rate != 0),
        retransmitted_bytes: Some(record.tcp.bytes_retrans),
        out_of_order: Some(out_of_order),
        reordering: again.then_some(record.limits.reordering),
        dsack: again.then_some(record.limits.dsack),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tracer_common::{
        record::{RecordKind as K, RecordRole as R, TcpCounters},
        tcp::TcpState,
    };
    use tracer_stream::{ConnId, Limit, Role};

    use super::*;
    use crate::tests::{close, record, tuple};

    fn closed(old: TcpState) -> CloseRecord {
        let record = close(record(K::Close, 9_000_000_000, 2, R::Client, 0, 5, tuple(5000, 80)), old, 0);
        let limits = TcpLimits {
            ticks: [250, 1000, 0],
            tick_ns: 4_000_000,
            rate_delivered: 10,
            rate_interval_us: 2000,
            mss: 1448,
            out_of_order: 3,
            reordering: 5,
            dsack: 1,
        };
        let tcp = TcpCounters { total_retrans: 2, bytes_retrans: 2896, ..record.tcp };
        CloseRecord { tcp, limits, ..record }
    }

    fn connection() -> Connection {
        let mut connection = Connection::new(ConnId(1), tuple(5000, 80), Role::Client);
        connection.established_ns = 3_000_000_000;
        connection
    }

    #[test]
    fn ticks_are_times() {
        let way = way(&connection(), &closed(TcpState::FinWait2), true);
        let limited = way.limited.unwrap();
        assert_eq!(
            (limited.app_us, limited.network_us, limited.peer_window_us),
            (Some(1_000_000), 1_000_000, 4_000_000)
        );
        assert_eq!((limited.send_buffer_us, limited.by), (0, Some(Limit::PeerWindow)));
        assert_eq!((way.delivery_rate, way.retransmitted_bytes), (Some(7_240_000), Some(2896)));
        assert_eq!((way.out_of_order, way.reordering, way.dsack), (Some(3), Some(5), Some(1)));
    }

    #[test]
    fn without_a_tick_or_a_handshake_nothing_is_known() {
        let mut record = closed(TcpState::FinWait2);
        record.limits.tick_ns = 0;
        record.limits.rate_interval_us = 0;
        record.tcp.total_retrans = 0;
        let some = way(&connection(), &record, true);
        assert_eq!((some.limited, some.delivery_rate, some.reordering), (None, None, None));
        assert_eq!(way(&connection(), &closed(TcpState::SynSent), true), Way::default());
        assert_eq!(way(&connection(), &closed(TcpState::FinWait2), false), Way::default());
    }
}
