//! Counters that hardly move on a healthy host, with their meanings.
//!
//! The names are those of `nstat`. A share relates a counter to another one: a thousand retransmits
//! are harmless in a billion segments.

use std::collections::HashMap;

use super::super::Picture;
use super::super::change::Changes;
use super::{Finding, Severity, by, percent};
use tracer_words::unit::Count;

/// When a counter stands out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// At any value above 0.
    Any(Severity),
    /// By its share of the counter `of`, in per cent. A count below ten is calm.
    Share {
        /// The counter to compare with.
        of: &'static str,
        /// From this share on it is worth a look.
        watch: f64,
        /// From this share on it is sick.
        sick: f64,
    },
    /// Any value above 0 is worth a look; from a share of `of` on it is sick.
    AnyOf {
        /// The counter to compare with.
        of: &'static str,
        /// From this share on it is sick.
        sick: f64,
    },
}

/// A share of fewer events than this means nothing.
pub(super) const FEW: u64 = 10;

/// How a counter is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// When it stands out.
    pub measure: Measure,
    /// Its meaning, in at most 48 columns.
    pub meaning: &'static str,
}

const fn sick(name: &'static str, meaning: &'static str) -> Rule {
    Rule { name, measure: Measure::Any(Severity::Sick), meaning }
}

const fn watch(name: &'static str, meaning: &'static str) -> Rule {
    Rule { name, measure: Measure::Any(Severity::Watch), meaning }
}

const fn share(name: &'static str, of: &'static str, watch: f64, sick: f64, meaning: &'static str) -> Rule {
    Rule { name, measure: Measure::Share { of, watch, sick }, meaning }
}

const fn any_of(name: &'static str, of: &'static str, sick: f64, meaning: &'static str) -> Rule {
    Rule { name, measure: Measure::AnyOf { of, sick }, meaning }
}

/// The rules, in the order in which they are shown.
pub const RULES: &[Rule] = &[
    any_of("TcpExtListenOverflows", "TcpPassiveOpens", 0.1, "accept queue full: accept() comes too late"),
    any_of("TcpExtListenDrops", "TcpPassiveOpens", 0.1, "a listener dropped a SYN or the last ACK"),
    sick("TcpExtTCPReqQFullDrop", "SYN queue full, SYN cookies off: SYN dropped"),
    watch("TcpExtTCPReqQFullDoCookies", "SYN queue full: answered with SYN cookies"),
    share("TcpExtSyncookiesFailed", "TcpExtSyncookiesRecv", 10.0, 50.0, "SYN cookie came back wrong or too late"),
    sick("TcpExtTCPAbortOnMemory", "no TCP memory or too many orphans: reset"),
    sick("TcpExtTCPAbortFailed", "a RST could not be sent: no memory"),
    sick("TcpExtTCPMemoryPressures", "TCP memory short: buffers shrink"),
    share("TcpRetransSegs", "TcpOutSegs", 1.0, 5.0, "segments sent again: loss on the path"),
    share("TcpExtTCPLostRetransmit", "TcpOutSegs", 0.1, 1.0, "retransmits that were lost as well"),
    share("TcpExtTCPTimeouts", "TcpOutSegs", 0.1, 1.0, "no ACK at all until the timer ran out"),
    share("TcpExtTCPSpuriousRTOs", "TcpOutSegs", 0.1, 1.0, "timer ran out, but the ACK was only late"),
    share("TcpExtTCPSynRetrans", "TcpActiveOpens", 1.0, 10.0, "SYN sent again: no answer in time"),
    share("TcpAttemptFails", "TcpActiveOpens", 5.0, 30.0, "handshakes that failed: refused, timed out"),
    share("TcpExtTCPAbortOnTimeout", "TcpActiveOpens", 1.0, 10.0, "given up: the peer answers no more"),
    sick("TcpExtRcvPruned", "receive buffer full: data dropped"),
    watch("TcpExtPruneCalled", "receive buffer full: queue made smaller"),
    watch("TcpExtOfoPruned", "receive buffer full: out-of-order data dropped"),
    watch("TcpExtTCPOFODrop", "receive buffer full: out-of-order data refused"),
    watch("TcpExtTCPRcvQDrop", "receive queue full: data dropped"),
    watch("TcpExtTCPBacklogDrop", "socket busy and its backlog full: dropped"),
    watch("TcpExtTCPZeroWindowDrop", "data came although the window was closed"),
    share("TcpExtTCPToZeroWindowAdv", "TcpOutSegs", 0.1, 1.0, "window closed: a process reads too slowly"),
    watch("TcpExtTCPWqueueTooBig", "send queue over its limit: write failed"),
    watch("TcpExtTCPTimeWaitOverflow", "tcp_max_tw_buckets reached: TIME_WAIT cut short"),
    share("TcpExtPAWSEstab", "TcpInSegs", 0.1, 1.0, "old timestamps: NAT or a replaced peer"),
    watch("TcpExtTCPMinTTLDrop", "TTL below the socket's minimum: dropped"),
    watch("TcpExtTCPMD5NotFound", "peer sends no MD5 signature"),
    watch("TcpExtTCPMD5Failure", "MD5 signature is wrong"),
    any_of("TcpInCsumErrors", "TcpInSegs", 0.01, "TCP checksum wrong: damaged on the way"),
    any_of("TcpInErrs", "TcpInSegs", 0.01, "damaged or malformed segments"),
    any_of("UdpRcvbufErrors", "UdpInDatagrams", 0.1, "UDP buffer full: a process reads too slowly"),
    any_of("Udp6RcvbufErrors", "Udp6InDatagrams", 0.1, "UDP buffer full: a process reads too slowly"),
    watch("UdpSndbufErrors", "UDP send buffer full"),
    watch("Udp6SndbufErrors", "UDP send buffer full"),
    sick("UdpMemErrors", "no UDP memory: udp_mem reached"),
    sick("Udp6MemErrors", "no UDP memory: udp_mem reached"),
    any_of("UdpInCsumErrors", "UdpInDatagrams", 0.1, "UDP checksum wrong: damaged on the way"),
    any_of("Udp6InCsumErrors", "Udp6InDatagrams", 0.1, "UDP checksum wrong: damaged on the way"),
    share("UdpNoPorts", "UdpInDatagrams", 5.0, 50.0, "datagrams to ports without a listener"),
    share("Udp6NoPorts", "Udp6InDatagrams", 5.0, 50.0, "datagrams to ports without a listener"),
    any_of("IpInDiscards", "IpInReceives", 0.1, "received and dropped: no memory"),
    any_of("Ip6InDiscards", "Ip6InReceives", 0.1, "received and dropped: no memory"),
    share("IpOutDiscards", "IpOutRequests", 0.1, 5.0, "dropped before sending: queue or firewall"),
    share("Ip6OutDiscards", "Ip6OutRequests", 0.1, 5.0, "dropped before sending: queue or firewall"),
    share("IpOutNoRoutes", "IpOutRequests", 0.1, 5.0, "no route to send them"),
    share("Ip6OutNoRoutes", "Ip6OutRequests", 1.0, 50.0, "no route to send them"),
    share("IpExtInNoRoutes", "IpInReceives", 0.1, 5.0, "no route to forward or accept them"),
    share("Ip6InNoRoutes", "Ip6InReceives", 0.1, 5.0, "no route to forward or accept them"),
    share("IpInAddrErrors", "IpInReceives", 0.1, 5.0, "for addresses that are not ours"),
    share("Ip6InAddrErrors", "Ip6InReceives", 0.1, 5.0, "for addresses that are not ours"),
    any_of("IpInHdrErrors", "IpInReceives", 0.1, "IP header wrong, or TTL used up"),
    any_of("Ip6InHdrErrors", "Ip6InReceives", 0.1, "IP header wrong, or hop limit used up"),
    watch("IpExtInTruncatedPkts", "packets shorter than they say"),
    watch("IpExtInCsumErrors", "IP header checksum wrong"),
    share("IpReasmFails", "IpReasmReqds", 1.0, 10.0, "fragments that never became a packet"),
    share("Ip6ReasmFails", "Ip6ReasmReqds", 1.0, 10.0, "fragments that never became a packet"),
    watch("IpFragFails", "too large and not to be fragmented: path MTU"),
    watch("Ip6FragFails", "too large and could not be fragmented"),
    watch("IcmpOutRateLimitGlobal", "ICMP not sent: the host's rate limit"),
];

/// Counters whose events are not part of the counter they are compared with: the whole is the sum of both.
const BESIDE: [&str; 10] = [
    "TcpExtListenOverflows",
    "TcpExtListenDrops",
    "TcpRetransSegs",
    "TcpExtTCPSynRetrans",
    "UdpRcvbufErrors",
    "Udp6RcvbufErrors",
    "UdpInCsumErrors",
    "Udp6InCsumErrors",
    "UdpNoPorts",
    "Udp6NoPorts",
];

/// Returns how far the counters moved, or their values without `changes`.
pub(super) fn amounts<'a>(picture: &'a Picture, changes: Option<&'a Changes>) -> HashMap<&'a str, u64> {
    match changes {
        Some(changes) => changes.counters.iter().map(|(name, change)| (name.as_str(), change.amount())).collect(),
        None => picture
            .counters
            .iter()
            .filter_map(|counter| Some((counter.name.as_str(), u64::try_from(counter.value).ok()?)))
            .collect(),
    }
}

/// Returns a finding for each rule that a counter breaks.
pub(super) fn assess(picture: &Picture, changes: Option<&Changes>) -> Vec<Finding> {
    let amounts = amounts(picture, changes);
    RULES
        .iter()
        .filter_map(|rule| {
            let count = amounts.get(rule.name).copied().filter(|count| *count > 0)?;
            let beside = if BESIDE.contains(&rule.name) { count } else { 0 };
            let whole = |of| amounts.get(of).copied().unwrap_or(0).saturating_add(beside);
            let (severity, percent) = match rule.measure {
                Measure::Any(severity) => (severity, None),
                Measure::Share { of, watch, sick } => {
                    // Events of a whole of 0 count as all of it.
                    let percent = percent(count, whole(of)).unwrap_or(100.0);
                    (by(percent, watch, sick).filter(|_| count >= FEW)?, Some(percent))
                }
                Measure::AnyOf { of, sick } => {
                    let percent = percent(count, whole(of)).unwrap_or(100.0);
                    (by(percent, 0.0, sick).filter(|_| count >= FEW).unwrap_or(Severity::Watch), Some(percent))
                }
            };
            Some(Finding {
                severity,
                section: "counters",
                what: rule.name.to_owned(),
                amount: Count(count).to_string(),
                percent,
                meaning: rule.meaning.to_owned(),
                explain: Some(rule.name),
                when: None,
            })
        })
        .collect()
}
