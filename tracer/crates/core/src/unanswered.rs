//! Whether a connection ended without the answer that its owner waited for: pure functions of the kernel's last record.

use tracer_common::{
    record::{
        COUNTERS_FIN_RECEIVED, COUNTERS_HAS_SOCKET, COUNTERS_KNOWN, COUNTERS_SOCKET_KNOWN, CloseRecord,
        FLAG_CALL_FAILED, FLAG_RECOVERED,
    },
    silence::{PATIENCE_NS, QUIET_UNKNOWN, Silence},
    tcp::TcpState,
};
use tracer_stream::{Role, Verdict};

/// The largest number of timeout doublings that the calculation follows.
const MOST_DOUBLINGS: u32 = 8;

fn state(record: &CloseRecord) -> Option<TcpState> {
    TcpState::from_number(record.socket.old)
}

/// Whether the counters describe the end of a connection, not the remains of a socket.
const fn counts(record: &CloseRecord) -> bool {
    record.tcp.flags & COUNTERS_KNOWN != 0 && record.socket.state.flags & (FLAG_CALL_FAILED | FLAG_RECOVERED) == 0
}

/// SYNs sent by a connection whose handshake did not finish.
#[must_use]
pub fn syns(record: &CloseRecord, role: Role) -> Option<u32> {
    let waits = role == Role::Client && state(record) == Some(TcpState::SynSent) && counts(record);
    waits.then(|| record.tcp.total_retrans.saturating_add(1))
}

/// Payload that the program wrote and the peer never acknowledged; SYN and FIN take a sequence number each, too.
#[must_use]
pub fn unacked_bytes(record: &CloseRecord, role: Role) -> Option<u64> {
    if role == Role::Listener || !counts(record) {
        return None;
    }
    let outstanding = record.tcp.write_seq.wrapping_sub(record.tcp.snd_una);
    let control = match state(record)? {
        TcpState::SynSent => 1,
        TcpState::FinWait1 | TcpState::LastAck | TcpState::Closing
            // A socket that is thrown away after shutdown() has sent its FIN as well.
            if outstanding > 0 =>
        {
            1
        }
        _ => 0,
    };
    // Sequence numbers that run backwards belong to no connection.
    (outstanding <= i32::MAX.unsigned_abs()).then(|| u64::from(outstanding.saturating_sub(control)))
}

/// The time from the last payload in either direction, or from the end of the handshake, to the end, in µs.
#[must_use]
pub fn idle_us(record: &CloseRecord, role: Role) -> Option<u64> {
    let ended = matches!(state(record), None | Some(TcpState::SynSent | TcpState::SynRecv | TcpState::Listen));
    let Silence { sent_ago, received_ago, tick_ns, .. } = record.silence();
    let known = tick_ns != 0 && role != Role::Listener && !ended && counts(record);
    known.then(|| u64::from(sent_ago.min(received_ago)) * u64::from(tick_ns) / 1000)
}

/// See [`tracer_stream::Close::unanswered`]. With `mptcp`, data lost here may have taken another subflow.
#[must_use]
pub fn unanswered(record: &CloseRecord, role: Role, verdict: Verdict, mptcp: bool) -> Option<bool> {
    if matches!(state(record), Some(TcpState::SynSent)) || verdict == Verdict::FailedLocal {
        return Some(false);
    }
    let unacked = unacked_bytes(record, role)?;
    if mptcp || verdict == Verdict::Unknown {
        return None;
    }
    if unacked > 0 {
        return if matches!(verdict, Verdict::ResetLocal | Verdict::Aborted | Verdict::ListenerClosed) {
            thrown_away(&record.silence())
        } else {
            Some(true)
        };
    }
    // Ignores everything after its FIN: a server that never read the request answers a FIN with RST.
    let closed_here = matches!(verdict, Verdict::ClosedLocal | Verdict::ResetLocal)
        || matches!(state(record), Some(TcpState::FinWait1 | TcpState::FinWait2));
    // A server that hangs up instead of answering leaves the request unanswered, too.
    let hung_up = matches!(verdict, Verdict::ClosedRemote | Verdict::ClosedBoth);
    if !(closed_here || hung_up) || record.tcp.bytes_sent == 0 {
        return Some(false);
    }
    match role {
        Role::Client => waited(record),
        // The connecting side is unknown.
        Role::Unknown => waited(record).filter(|waited| !waited),
        Role::Server | Role::Listener => Some(false),
    }
}

/// This side discarded what it had sent: whether the peer had time to acknowledge it.
fn thrown_away(silence: &Silence) -> Option<bool> {
    if silence.retransmits > 0 {
        return Some(true);
    }
    (silence.tick_ns != 0).then(|| ago_ns(silence) >= PATIENCE_NS)
}

/// The time since the last payload was sent, rounded up by a tick.
fn ago_ns(silence: &Silence) -> u64 {
    (u64::from(silence.sent_ago) + 1) * u64::from(silence.tick_ns)
}

/// Whether nothing came after the last payload that was sent, and this side waited for it before it closed.
fn waited(record: &CloseRecord) -> Option<bool> {
    let silence = record.silence();
    if silence.tick_ns == 0 {
        return None;
    }
    let fin = u64::from(record.tcp.flags & COUNTERS_FIN_RECEIVED != 0);
    let received = record.tcp.bytes_received.saturating_sub(fin) > 0;
    if received && silence.received_ago < silence.sent_ago {
        return Some(false);
    }
    let long_enough = waited_long_enough(record);
    // Both in one tick: the order is unknown.
    if received && silence.received_ago == silence.sent_ago { long_enough.filter(|long| !long) } else { long_enough }
}

fn waited_long_enough(record: &CloseRecord) -> Option<bool> {
    let silence = record.silence();
    let ago = ago_ns(&silence);
    let held = COUNTERS_SOCKET_KNOWN | COUNTERS_HAS_SOCKET;
    if ago < PATIENCE_NS || record.tcp.flags & held == held {
        return Some(ago >= PATIENCE_NS);
    }
    // close() was earlier: when the FIN left, which was the last segment sent.
    if silence.quiet_us == QUIET_UNKNOWN {
        return None;
    }
    let most = ago.saturating_sub(u64::from(silence.quiet_us) * 1000);
    // If that was a repeated FIN, the first one was earlier by the sum of the timeouts.
    let doublings = record.tcp.total_retrans.min(MOST_DOUBLINGS);
    let repeats = u64::from(silence.rto) * u64::from(silence.tick_ns) * ((1 << doublings) - 1);
    let least = if doublings > 0 && silence.rto == 0 { 0 } else { most.saturating_sub(repeats) };
    if most < PATIENCE_NS {
        Some(false)
    } else if least >= PATIENCE_NS {
        Some(true)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::record::{RecordKind, RecordRole};

    use super::*;
    use crate::tests::{close, record, tuple};

    /// A client that sent a request and closed `ago` ticks of four milliseconds later; its FIN was acknowledged at once.
    fn request(old: TcpState, sent_ago: u32, received_ago: u32) -> CloseRecord {
        let socket = record(RecordKind::Close, 9, 7, RecordRole::Client, 0, 1, tuple(5000, 80));
        let mut record = close(socket, old, 0);
        record.tcp.flags = COUNTERS_KNOWN | COUNTERS_SOCKET_KNOWN;
        record.tcp.bytes_sent = 100;
        record.ending =
            Silence { quiet_us: 100, sent_ago, received_ago, tick_ns: 4_000_000, rto: 50, ..Silence::UNKNOWN }.pack();
        record
    }

    #[test]
    fn who_waits_a_second_for_nothing_is_not_answered() {
        let judge = |record: &CloseRecord| unanswered(record, Role::Client, Verdict::ClosedLocal, false);
        assert_eq!(judge(&request(TcpState::FinWait2, 1000, 1000)), Some(true), "nothing was ever received");
        assert_eq!(judge(&request(TcpState::FinWait2, 250, 250)), Some(true), "a tick is no shorter wait");
        assert_eq!(judge(&request(TcpState::FinWait2, 248, 248)), Some(false), "sent and closed");
        let mut answered = request(TcpState::FinWait2, 1000, 999);
        answered.tcp.bytes_received = 5;
        assert_eq!(judge(&answered), Some(false), "answered, then idle");
        answered.ending = Silence { received_ago: 1001, ..answered.silence() }.pack();
        assert_eq!(judge(&answered), Some(true), "the second request was not");
        answered.ending = Silence { received_ago: 1000, ..answered.silence() }.pack();
        assert_eq!(judge(&answered), None, "both in one tick");
        let mut farewell = request(TcpState::FinWait2, 1000, 1000);
        farewell.tcp.bytes_received = 1;
        farewell.tcp.flags |= COUNTERS_FIN_RECEIVED;
        assert_eq!(judge(&farewell), Some(true), "a FIN is no answer");
        let reset = unanswered(&request(TcpState::FinWait2, 1000, 1000), Role::Client, Verdict::ResetRemote, false);
        assert_eq!(reset, Some(true), "the server threw the request away when the client had closed");
        let mut nothing = request(TcpState::FinWait2, 1000, 1000);
        nothing.tcp.bytes_sent = 0;
        assert_eq!(judge(&nothing), Some(false), "nothing was asked");
    }

    #[test]
    fn a_slow_farewell_is_no_wait() {
        let judge = |record: &CloseRecord| unanswered(record, Role::Client, Verdict::ClosedLocal, false);
        let mut slow = request(TcpState::FinWait1, 500, 500);
        slow.ending = Silence { quiet_us: 1_900_000, ..slow.silence() }.pack();
        assert_eq!(judge(&slow), Some(false), "the FIN left at once, its acknowledgement took two seconds");
        slow.ending = Silence { quiet_us: QUIET_UNKNOWN, ..slow.silence() }.pack();
        assert_eq!(judge(&slow), None);
        let mut again = request(TcpState::FinWait1, 500, 500);
        again.tcp.total_retrans = 3;
        assert_eq!(judge(&again), None, "it may have been the FIN that was sent three times more");
        again.tcp.total_retrans = 1;
        assert_eq!(judge(&again), Some(true), "it may, but only a fifth of a second before");
        again.tcp.flags |= COUNTERS_HAS_SOCKET;
        again.tcp.total_retrans = 3;
        assert_eq!(judge(&again), Some(true), "it is being closed now");
    }

    #[test]
    fn only_a_client_waits_for_an_answer() {
        let idle = request(TcpState::FinWait2, 1000, 1000);
        assert_eq!(unanswered(&idle, Role::Server, Verdict::ClosedLocal, false), Some(false));
        assert_eq!(unanswered(&idle, Role::Unknown, Verdict::ClosedLocal, false), None);
        assert_eq!(unanswered(&idle, Role::Listener, Verdict::ClosedLocal, false), None);
        assert_eq!(unanswered(&idle, Role::Client, Verdict::ClosedLocal, true), None, "another subflow may have it");
        let left = request(TcpState::LastAck, 1000, 1000);
        assert_eq!(unanswered(&left, Role::Client, Verdict::ClosedRemote, false), Some(true), "the peer hung up");
        let mut unknown = idle;
        unknown.ending = Silence { tick_ns: 0, ..unknown.silence() }.pack();
        assert_eq!(unanswered(&unknown, Role::Client, Verdict::ClosedLocal, false), None);
        assert_eq!(idle_us(&unknown, Role::Client), None);
    }

    #[test]
    fn bytes_that_nobody_acknowledged() {
        let mut record = request(TcpState::Established, 10, 10);
        (record.tcp.snd_una, record.tcp.write_seq) = (u32::MAX - 9, 110);
        assert_eq!(unacked_bytes(&record, Role::Server), Some(120), "numbers wrap");
        for verdict in [Verdict::TimedOut, Verdict::ResetRemote, Verdict::ClosedLocal, Verdict::Unreachable] {
            assert_eq!(unanswered(&record, Role::Server, verdict, false), Some(true), "{verdict:?}");
        }
        // Thrown away at once: the peer had no time.
        assert_eq!(unanswered(&record, Role::Client, Verdict::ResetLocal, false), Some(false));
        record.ending = Silence { retransmits: 2, ..record.silence() }.pack();
        assert_eq!(unanswered(&record, Role::Client, Verdict::ResetLocal, false), Some(true));
        assert_eq!(unanswered(&record, Role::Client, Verdict::Unknown, false), None);
    }

    #[test]
    fn syn_and_fin_are_no_payload() {
        let mut record = request(TcpState::FinWait1, 1, 1);
        (record.tcp.snd_una, record.tcp.write_seq) = (100, 101);
        assert_eq!(unacked_bytes(&record, Role::Client), Some(0), "a FIN is on its way");
        record.tcp.write_seq = 111;
        assert_eq!(unacked_bytes(&record, Role::Client), Some(10));
        record.socket.old = TcpState::SynSent as u8;
        record.tcp.total_retrans = 2;
        assert_eq!((unacked_bytes(&record, Role::Client), syns(&record, Role::Client)), (Some(10), Some(3)));
        assert_eq!(unanswered(&record, Role::Client, Verdict::NoAnswer, false), Some(false));
        assert_eq!(idle_us(&record, Role::Client), None, "there was no connection");
        record.tcp.write_seq = 99;
        assert_eq!(unacked_bytes(&record, Role::Client), None);
        record.socket.state.flags |= FLAG_CALL_FAILED;
        assert_eq!(syns(&record, Role::Client), None);
    }

    #[test]
    fn idle_is_what_both_sides_were() {
        let record = request(TcpState::FinWait2, 1000, 250);
        assert_eq!(idle_us(&record, Role::Client), Some(1_000_000));
        assert_eq!(idle_us(&record, Role::Listener), None);
    }
}
