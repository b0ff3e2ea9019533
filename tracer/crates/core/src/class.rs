//! The meaning of a drop, by the name of its reason and the other known facts of the packet.

use tracer_common::{
    drops::{TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN},
    tcp::TcpState,
};
use tracer_explain::class::of_reason;
use tracer_rules::hint;
use tracer_stream::DropClass;

/// The function that drops packets by netfilter's verdict, before nf_tables did so itself.
pub const NETFILTER: &str = "nf_hook_slow";

/// The other known facts of a dropped packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances<'a> {
    /// The function that dropped it; empty if unknown.
    pub function: &'a str,
    /// The kernel answered it with an RST of no socket.
    pub answered: bool,
    /// It is an IP packet.
    pub is_ip: bool,
    /// It was sent to more than one host.
    pub to_many: bool,
    /// TCP flags.
    pub tcp_flags: Option<u8>,
    /// State of its TCP socket.
    pub state: Option<TcpState>,
}

/// The class of a drop. `reason`: the kernel's name without `SKB_DROP_REASON_`; empty if the kernel gives none.
/// `usual`: the meaning of this reason by itself ([`of_reason`]).
#[must_use]
pub fn class(reason: &str, usual: DropClass, of: &Circumstances<'_>) -> DropClass {
    match reason {
        "NO_SOCKET" | "IP_NOPROTO" => nobody(of),
        "NOT_SPECIFIED" | "" => unspecified(of),
        "TCP_FLAGS" if of.tcp_flags.is_some_and(|flags| flags & TCP_RST != 0) => DropClass::Teardown,
        _ if !of.is_ip && reason.starts_with("IPV6_NDISC") => DropClass::Noise,
        _ => usual,
    }
}

/// Whether the text output always leaves out drops with this reason, whatever else is known of the packet.
#[must_use]
pub fn is_always_quiet(reason: &str) -> bool {
    let depends = ["NO_SOCKET", "IP_NOPROTO", "NOT_SPECIFIED", ""];
    of_reason(reason).is_quiet() && !depends.contains(&reason)
}

/// No socket listens: refused, unless it was no request.
fn nobody(of: &Circumstances<'_>) -> DropClass {
    match of.tcp_flags {
        _ if of.to_many => DropClass::Noise,
        // The listener's queue was full when the handshake ended: for the client the connection exists.
        _ if of.state == Some(TcpState::Listen) => DropClass::Loss,
        Some(flags) if flags & TCP_SYN != 0 && flags & TCP_ACK == 0 => DropClass::Refused,
        Some(flags) if flags & (TCP_RST | TCP_FIN | TCP_ACK) != 0 => DropClass::Teardown,
        _ => DropClass::Refused,
    }
}

/// Classifies a drop without a reason by its function, if that function drops for one reason alone.
fn unspecified(of: &Circumstances<'_>) -> DropClass {
    let ended = matches!(of.state, Some(TcpState::TimeWait | TcpState::Close));
    let reset = of.tcp_flags.is_some_and(|flags| flags & TCP_RST != 0);
    if of.function == NETFILTER {
        DropClass::Policy
    } else if let Some(class) = hint::class_of_function(of.function) {
        class
    } else if of.answered {
        nobody(of)
    } else if !of.is_ip || of.to_many {
        DropClass::Noise
    } else if ended || reset {
        DropClass::Teardown
    } else {
        DropClass::Loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every combination of known facts of a packet.
    fn all_circumstances() -> Vec<Circumstances<'static>> {
        let mut all = Vec::new();
        for bits in 0..8 {
            for tcp_flags in [None, Some(0), Some(TCP_SYN), Some(TCP_ACK), Some(TCP_RST), Some(TCP_FIN | TCP_ACK)] {
                for state in [None, Some(TcpState::Listen), Some(TcpState::Established), Some(TcpState::TimeWait)] {
                    for function in ["", NETFILTER, "tcp_v4_rcv"] {
                        let [answered, is_ip, to_many] = [1, 2, 4].map(|bit| bits & bit != 0);
                        all.push(Circumstances { function, answered, is_ip, to_many, tcp_flags, state });
                    }
                }
            }
        }
        all
    }

    #[test]
    fn what_is_always_quiet_is_so_whatever_the_packet() {
        let names = tracer_explain::entries().filter(|entry| entry.class.is_some()).flat_map(|entry| entry.names());
        let short = names.map(tracer_explain::short).collect::<Vec<_>>();
        let quiet: Vec<&&str> = short.iter().filter(|name| is_always_quiet(name)).collect();
        assert!(quiet.contains(&&"TCP_CLOSE") && quiet.contains(&&"TCP_FLAGS") && !quiet.contains(&&"NO_SOCKET"));
        for name in quiet {
            for of in all_circumstances() {
                assert!(class(name, of_reason(name), &of).is_quiet(), "{name} {of:?}");
            }
        }
    }

    #[test]
    fn the_same_reason_means_different_things() {
        let tcp = |flags| Circumstances { is_ip: true, tcp_flags: Some(flags), ..Circumstances::default() };
        let ip = Circumstances { is_ip: true, ..Circumstances::default() };
        let many = Circumstances { to_many: true, ..ip };
        let waiting = Circumstances { state: Some(TcpState::TimeWait), ..tcp(TCP_ACK) };
        for (reason, of, expected) in [
            ("NO_SOCKET", tcp(TCP_SYN), DropClass::Refused),
            ("NO_SOCKET", tcp(TCP_SYN | TCP_ACK), DropClass::Teardown),
            ("NO_SOCKET", tcp(TCP_RST), DropClass::Teardown),
            ("NO_SOCKET", ip, DropClass::Refused),
            ("NO_SOCKET", many, DropClass::Noise),
            ("NO_SOCKET", Circumstances { state: Some(TcpState::Listen), ..tcp(TCP_ACK) }, DropClass::Loss),
            ("NOT_SPECIFIED", ip, DropClass::Loss),
            ("NOT_SPECIFIED", waiting, DropClass::Teardown),
            ("NOT_SPECIFIED", many, DropClass::Noise),
            ("NOT_SPECIFIED", Circumstances::default(), DropClass::Noise),
            ("", ip, DropClass::Loss),
            ("", Circumstances { function: NETFILTER, ..ip }, DropClass::Policy),
            ("NOT_SPECIFIED", Circumstances { function: NETFILTER, ..ip }, DropClass::Policy),
            ("", tcp(TCP_SYN), DropClass::Loss),
            ("", Circumstances { answered: true, ..tcp(TCP_SYN) }, DropClass::Refused),
            ("", Circumstances { answered: true, ..tcp(TCP_ACK) }, DropClass::Teardown),
            ("TCP_CSUM", Circumstances { answered: true, ..tcp(TCP_SYN) }, DropClass::Loss),
            ("NETFILTER_DROP", ip, DropClass::Policy),
            ("A_REASON_OF_TOMORROW", ip, DropClass::Loss),
        ] {
            assert_eq!(class(reason, of_reason(reason), &of), expected, "{reason} {of:?}");
        }
    }
}
