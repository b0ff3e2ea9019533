//! How a connection ended, and how much it carried: pure functions of the kernel's last record.

use tracer_common::{
    record::{
        COUNTERS_FIN_RECEIVED, COUNTERS_HAS_SOCKET, COUNTERS_KNOWN, COUNTERS_LOCK_KNOWN, COUNTERS_LOCKED,
        COUNTERS_NO_ERRNO, COUNTERS_REPAIR, COUNTERS_SOCKET_KNOWN, CloseRecord, FLAG_CALL_FAILED, FLAG_RECOVERED,
        TcpCounters,
    },
    silence::IcmpError,
    tcp::TcpState,
};
use tracer_stream::{self as stream, Icmp, Role, Verdict};

/// The error behind the end, positive; 0 for none.
///
/// The error of a waiting connect() has several places. If an ICMP error arrives while a system call has the socket,
/// the kernel keeps it in `sk_err_soft`. getsockopt(SO_ERROR) clears that as it clears `sk_err`: then the error is
/// still in the error queue, or was reported before (`last`).
#[must_use]
pub fn errno(record: &CloseRecord, last: i32) -> i32 {
    let waits = record.socket.old == TcpState::SynSent as u8 && record.socket.state.flags & FLAG_CALL_FAILED == 0;
    // The remains of the socket's earlier connection do not describe this one.
    let soft = Some(record.tcp.sk_err_soft).filter(|soft| *soft != record.socket.state.err_soft()).unwrap_or(0);
    let places = [soft, record.icmp().errno, last].map(|errno| if waits { errno } else { 0 });
    [record.socket.errno].into_iter().chain(places).find(|errno| *errno != 0).unwrap_or(0)
}

/// The ICMP error that `errno` comes from.
#[must_use]
pub fn icmp(record: &CloseRecord, errno: i32) -> Option<Icmp> {
    let IcmpError { from, errno: of_message, family, kind, code } = record.icmp();
    if family == 0 || of_message != errno {
        return None;
    }
    Some(Icmp { v6: family == 6, kind, code, from: stream::address(family, from).0 })
}

/// The verdict on a closed socket.
///
/// The last state before `CLOSE` shows who closed first: only our FIN leads to `FIN_WAIT*`, only the peer's to
/// `LAST_ACK`, both at once to `CLOSING` (RFC 9293, figure 5). A reset goes to `CLOSE` straight from anywhere: with
/// `sk_err` set it came from outside (`tcp_reset`), without it this side sent it (`tcp_disconnect` and `tcp_close` set
/// the state first and the error later, if at all). `errno`: see [`errno`]. `accepted`: a process is known to have
/// accepted it.
#[must_use]
pub fn verdict(record: &CloseRecord, errno: i32, role: Role, accepted: bool) -> Verdict {
    let flags = record.socket.state.flags;
    if flags & FLAG_CALL_FAILED != 0 {
        return Verdict::FailedLocal;
    }
    let old = TcpState::from_number(record.socket.old);
    if record.tcp.flags & COUNTERS_NO_ERRNO != 0 {
        return without_errno(old);
    }
    // A checkpoint (CRIU): nothing is sent, and the connection goes on elsewhere.
    if record.tcp.flags & COUNTERS_REPAIR != 0 {
        return Verdict::Aborted;
    }
    match errno {
        0 if flags & FLAG_RECOVERED != 0 => Verdict::Unknown,
        0 => without_error(record, old, role, accepted),
        libc::ECONNREFUSED => Verdict::Refused,
        libc::ETIMEDOUT => Verdict::TimedOut,
        libc::ECONNRESET | libc::EPIPE => Verdict::ResetRemote,
        libc::ECONNABORTED => Verdict::Aborted,
        // The results of the kernel's icmp_err_convert and icmpv6_err_convert.
        libc::EHOSTUNREACH
        | libc::ENETUNREACH
        | libc::EHOSTDOWN
        | libc::ENONET
        | libc::ENOPROTOOPT
        | libc::EOPNOTSUPP
        | libc::EACCES
        | libc::EPROTO
        | libc::EMSGSIZE => Verdict::Unreachable,
        // For example the reason why the last SYN could not be sent.
        _ if record.socket.errno == 0 && old == Some(TcpState::SynSent) => given_up(record),
        _ => Verdict::Unknown,
    }
}

/// The verdict when the error could not be read. A reset and a timeout come from every state in which there is a peer,
/// so the last state alone shows nothing but the end of a listener.
const fn without_errno(old: Option<TcpState>) -> Verdict {
    match old {
        Some(TcpState::Listen) => Verdict::ClosedLocal,
        _ => Verdict::Unknown,
    }
}

fn without_error(record: &CloseRecord, old: Option<TcpState>, role: Role, accepted: bool) -> Verdict {
    match old {
        // It still belongs to a process and the peer sent no FIN: it neither timed out nor was answered; its owner
        // discarded it (linger 0, unread data), which sends RST.
        Some(TcpState::FinWait1 | TcpState::FinWait2)
            if record.tcp.flags & COUNTERS_HAS_SOCKET != 0 && record.tcp.flags & COUNTERS_FIN_RECEIVED == 0 =>
        {
            Verdict::ResetLocal
        }
        Some(TcpState::SynSent) => given_up(record),
        Some(TcpState::FinWait1 | TcpState::FinWait2 | TcpState::TimeWait | TcpState::Listen) => Verdict::ClosedLocal,
        Some(TcpState::LastAck) => Verdict::ClosedRemote,
        Some(TcpState::Closing) => Verdict::ClosedBoth,
        Some(TcpState::Established | TcpState::CloseWait | TcpState::SynRecv) => {
            let orphan = record.tcp.flags & (COUNTERS_SOCKET_KNOWN | COUNTERS_HAS_SOCKET) == COUNTERS_SOCKET_KNOWN;
            if role == Role::Server && !accepted && orphan { Verdict::ListenerClosed } else { Verdict::ResetLocal }
        }
        _ => Verdict::Unknown,
    }
}

/// If no system call has the socket, the kernel ended connect(), for an error that another CPU has fetched since
/// (getsockopt(SO_ERROR)): which error is unknown.
const fn given_up(record: &CloseRecord) -> Verdict {
    match record.tcp.flags & (COUNTERS_LOCK_KNOWN | COUNTERS_LOCKED) {
        COUNTERS_LOCK_KNOWN => Verdict::Unknown,
        _ => Verdict::NoAnswer,
    }
}

/// Payload bytes sent and acknowledged, and received.
///
/// The kernel counts the SYN of an active open and each FIN as one byte (RFC 4898 does, too). They are subtracted, so
/// that a client that sent 64 bytes shows 64.
#[must_use]
pub fn payload(record: &CloseRecord, role: Role) -> Option<(u64, u64)> {
    let tcp = &record.tcp;
    if tcp.flags & COUNTERS_KNOWN == 0 {
        return None;
    }
    let fin_received = u64::from(tcp.flags & COUNTERS_FIN_RECEIVED != 0);
    Some((sent(tcp, record, role), tcp.bytes_received.saturating_sub(fin_received)))
}

fn sent(tcp: &TcpCounters, record: &CloseRecord, role: Role) -> u64 {
    let fin_sent = matches!(
        TcpState::from_number(record.socket.old),
        Some(TcpState::FinWait1 | TcpState::FinWait2 | TcpState::LastAck | TcpState::Closing | TcpState::TimeWait)
    );
    let fin_acked = fin_sent && tcp.snd_una == tcp.write_seq;
    match role {
        // The handshake was not seen: what was sent, less what is still in flight.
        Role::Unknown => {
            let under_way = u64::from(tcp.snd_nxt.wrapping_sub(tcp.snd_una));
            let fin_under_way = u64::from(fin_sent && !fin_acked && tcp.snd_nxt == tcp.write_seq);
            tcp.bytes_sent.saturating_sub(tcp.bytes_retrans).saturating_sub(under_way.saturating_sub(fin_under_way))
        }
        _ => {
            let syn_acked = u64::from(role == Role::Client && tcp.bytes_acked > 0);
            tcp.bytes_acked.saturating_sub(syn_acked + u64::from(fin_acked))
        }
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::record::{Header, Opener, RecordRole, SocketRecord, SocketState, Tuple};

    use super::{super::tests::close, verdict as judged, *};

    fn verdict(record: &CloseRecord, role: Role, accepted: bool) -> Verdict {
        judged(record, errno(record, 0), role, accepted)
    }

    fn closed(old: TcpState, errno: i32, flags: u16) -> CloseRecord {
        let opener = Opener::NOBODY;
        let socket = SocketRecord {
            header: Header { kind: 6, version: 1, reserved: [0; 6], boot_ns: 0 },
            state: SocketState {
                id: 1,
                started_ns: 0,
                established_ns: 0,
                opener,
                role: 0,
                closed: 0,
                flags,
                parent: 0,
            },
            tuple: Tuple {
                laddr: [0; 4],
                raddr: [0; 4],
                lport: 0,
                rport: 0,
                family: 4,
                reserved: [0; 3],
                netns: 0,
                ifindex: 0,
            },
            old: old as u8,
            new: TcpState::Close as u8,
            reserved: [0; 2],
            errno,
            detail: 0,
        };
        close(socket, old, errno)
    }

    #[test]
    fn who_closed_first_is_told_by_the_last_state() {
        let mut record = closed(TcpState::FinWait2, 0, 0);
        assert_eq!(verdict(&record, Role::Client, true), Verdict::ResetLocal, "thrown away");
        record.tcp.flags |= COUNTERS_FIN_RECEIVED;
        assert_eq!(verdict(&record, Role::Client, true), Verdict::ClosedLocal, "the peer has closed, too");
        record.tcp.flags &= !(COUNTERS_FIN_RECEIVED | COUNTERS_HAS_SOCKET);
        assert_eq!(verdict(&record, Role::Client, true), Verdict::ClosedLocal, "an orphan");
    }

    #[test]
    fn verdicts() {
        use TcpState as S;
        let table = [
            (S::LastAck, 0, 0, Role::Server, true, Verdict::ClosedRemote),
            (S::Closing, 0, 0, Role::Server, true, Verdict::ClosedBoth),
            (S::SynSent, 0, 0, Role::Client, false, Verdict::NoAnswer),
            (S::SynSent, 0, FLAG_CALL_FAILED, Role::Client, false, Verdict::FailedLocal),
            (S::SynSent, libc::ECONNREFUSED, 0, Role::Client, false, Verdict::Refused),
            (S::SynSent, libc::ETIMEDOUT, 0, Role::Client, false, Verdict::TimedOut),
            (S::SynSent, libc::EHOSTUNREACH, 0, Role::Client, false, Verdict::Unreachable),
            (S::Established, libc::ETIMEDOUT, 0, Role::Client, true, Verdict::TimedOut),
            (S::Established, libc::ECONNRESET, 0, Role::Client, true, Verdict::ResetRemote),
            (S::CloseWait, libc::EPIPE, 0, Role::Server, true, Verdict::ResetRemote),
            (S::FinWait1, libc::ECONNRESET, 0, Role::Client, true, Verdict::ResetRemote),
            (S::Established, 0, 0, Role::Client, true, Verdict::ResetLocal),
            (S::CloseWait, 0, 0, Role::Server, true, Verdict::ResetLocal),
            (S::Established, libc::ECONNABORTED, 0, Role::Server, true, Verdict::Aborted),
            (S::Established, 0, FLAG_RECOVERED, Role::Server, true, Verdict::Unknown),
        ];
        for (old, errno, flags, role, accepted, expected) in table {
            assert_eq!(verdict(&closed(old, errno, flags), role, accepted), expected, "{old:?} {errno} {flags}");
        }
    }

    #[test]
    fn a_connect_that_waits_has_its_error_in_several_places() {
        let waits = closed(TcpState::SynSent, 0, 0);
        let soft = |record: &mut CloseRecord| record.tcp.sk_err_soft = libc::EHOSTUNREACH;
        let message = IcmpError { from: [1, 0, 0, 0], errno: libc::ENETUNREACH, family: 4, kind: 3, code: 0 };
        let mut record = waits;
        soft(&mut record);
        assert_eq!((errno(&record, 0), icmp(&record, libc::EHOSTUNREACH)), (libc::EHOSTUNREACH, None));
        assert_eq!(verdict(&record, Role::Client, false), Verdict::Unreachable);
        record.ending = message.pack();
        assert_eq!((errno(&record, 0), icmp(&record, libc::EHOSTUNREACH)), (libc::EHOSTUNREACH, None), "another one's");
        let mut record = CloseRecord { ending: message.pack(), ..waits };
        assert_eq!(errno(&record, libc::ECONNREFUSED), libc::ENETUNREACH, "SO_ERROR has taken it");
        assert_eq!(icmp(&record, libc::ENETUNREACH).map(|icmp| (icmp.kind, icmp.code)), Some((3, 0)));
        record.ending = IcmpError::NONE.pack();
        assert_eq!(errno(&record, libc::ECONNREFUSED), libc::ECONNREFUSED, "it was reported before");
        // The socket had it before it was connected.
        let mut record = waits;
        soft(&mut record);
        record.socket.state.role = RecordRole::Client as u8;
        record.socket.state.parent = libc::EHOSTUNREACH.cast_unsigned();
        assert_eq!((errno(&record, 0), verdict(&record, Role::Client, false)), (0, Verdict::NoAnswer));
        // connect() itself returned the reason; a soft error of a connection is not its end.
        let mut record = closed(TcpState::SynSent, libc::EADDRNOTAVAIL, FLAG_CALL_FAILED);
        soft(&mut record);
        assert_eq!(errno(&record, 0), libc::EADDRNOTAVAIL);
        let mut record = closed(TcpState::FinWait2, 0, 0);
        soft(&mut record);
        assert_eq!(errno(&record, 0), 0);
    }

    #[test]
    fn whoever_has_the_socket_gives_connect_up() {
        let mut record = closed(TcpState::SynSent, 0, 0);
        record.tcp.flags |= COUNTERS_LOCK_KNOWN | COUNTERS_LOCKED;
        assert_eq!(verdict(&record, Role::Client, false), Verdict::NoAnswer);
        record.tcp.flags &= !COUNTERS_LOCKED;
        assert_eq!(verdict(&record, Role::Client, false), Verdict::Unknown, "the kernel ended it");
    }

    #[test]
    fn a_checkpoint_is_no_reset() {
        for old in [TcpState::Established, TcpState::CloseWait] {
            let mut record = closed(old, 0, 0);
            assert_eq!(verdict(&record, Role::Client, true), Verdict::ResetLocal);
            record.tcp.flags |= COUNTERS_REPAIR;
            assert_eq!(verdict(&record, Role::Client, true), Verdict::Aborted);
        }
    }

    #[test]
    fn an_errno_that_nobody_could_read_is_no_verdict() {
        for old in [TcpState::SynSent, TcpState::Established, TcpState::FinWait2, TcpState::LastAck, TcpState::Closing]
        {
            let mut record = closed(old, 0, 0);
            record.tcp.flags = COUNTERS_NO_ERRNO;
            assert_eq!(verdict(&record, Role::Client, true), Verdict::Unknown, "{old:?}");
        }
        let mut record = closed(TcpState::Listen, 0, 0);
        record.tcp.flags = COUNTERS_NO_ERRNO;
        assert_eq!(verdict(&record, Role::Listener, false), Verdict::ClosedLocal);
        // connect() itself returned the reason.
        let mut record = closed(TcpState::SynSent, libc::EADDRNOTAVAIL, FLAG_CALL_FAILED);
        record.tcp.flags = COUNTERS_NO_ERRNO;
        assert_eq!(verdict(&record, Role::Client, false), Verdict::FailedLocal);
    }

    #[test]
    fn a_child_that_nobody_accepted_dies_with_its_listener() {
        let mut record = closed(TcpState::Established, 0, 0);
        record.tcp.flags &= !COUNTERS_HAS_SOCKET;
        assert_eq!(verdict(&record, Role::Server, false), Verdict::ListenerClosed);
        assert_eq!(verdict(&record, Role::Server, true), Verdict::ResetLocal);
        assert_eq!(verdict(&record, Role::Client, false), Verdict::ResetLocal);
    }

    #[test]
    fn syn_and_fin_are_not_payload() {
        let mut record = closed(TcpState::FinWait2, 0, 0);
        record.tcp.bytes_acked = 66;
        record.tcp.bytes_received = 101;
        record.tcp.flags |= COUNTERS_FIN_RECEIVED;
        assert_eq!(payload(&record, Role::Client), Some((64, 100)));
        assert_eq!(payload(&record, Role::Server), Some((65, 100)));
        record.tcp.write_seq = 1; // the FIN is not acknowledged
        assert_eq!(payload(&record, Role::Client), Some((65, 100)));
        record.tcp.flags &= !COUNTERS_KNOWN;
        assert_eq!(payload(&record, Role::Client), None);
    }

    #[test]
    fn an_unknown_role_is_counted_from_what_was_sent() {
        let mut record = closed(TcpState::FinWait1, libc::ECONNRESET, 0);
        record.tcp.bytes_sent = 100;
        record.tcp.bytes_retrans = 10;
        record.tcp.snd_una = 1000;
        record.tcp.snd_nxt = 1031; // thirty bytes and a FIN
        record.tcp.write_seq = 1031;
        assert_eq!(payload(&record, Role::Unknown), Some((60, 0)));
    }
}
