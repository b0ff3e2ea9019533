//! Checks for full queues and tables, and for devices that lose packets.

use std::net::{IpAddr, SocketAddr};

use super::super::change::{Changes, Presence};
use super::super::sockets::{Owned, Owner};
use super::super::{Interface, Picture};
use super::counters::FEW;
use super::{Finding, Severity, by, percent};
use crate::proc::net::sockstat;
use tracer_stream::TcpState;
use tracer_words::unit::Count;

/// Shares of a limit, in per cent.
const FULL: [f64; 2] = [80.0, 95.0];
const QUEUE: [f64; 2] = [50.0, 90.0];
const PORTS: [f64; 2] = [70.0, 90.0];
/// Errors and drops of a device, in per cent of its packets.
const ERRORS: [f64; 2] = [0.0, 0.1];
const DROPS: [f64; 2] = [0.01, 1.0];
/// Sockets of one process that the peers have closed and the process has not.
const CLOSE_WAIT: [f64; 2] = [100.0, 1000.0];
/// Connections of one process that wait for the peer's answer.
const SYN_SENT: [f64; 2] = [20.0, 200.0];
/// Time squeezes in per cent of packets.
const SQUEEZES: [f64; 2] = [0.1, 5.0];

pub(super) fn assess(picture: &Picture, changes: Option<&Changes>) -> Vec<Finding> {
    let mut findings = Vec::new();
    listen_queues(picture, &mut findings);
    conntrack(picture, changes, &mut findings);
    memory(picture, &mut findings);
    ports(picture, &mut findings);
    interfaces(picture, changes, &mut findings);
    softnet(picture, changes, &mut findings);
    neighbours(picture, changes, &mut findings);
    picture.sockets.owners.iter().for_each(|owned| states(owned, &mut findings));
    if picture.malformed.count > 0 {
        let amount = Count(picture.malformed.count).to_string();
        findings.push(finding(Severity::Watch, "missing", "lines", amount, None, "could not be understood: see below"));
    }
    findings
}

fn finding(
    severity: Severity,
    section: &'static str,
    what: impl Into<String>,
    amount: String,
    percent: Option<f64>,
    meaning: impl Into<String>,
) -> Finding {
    Finding {
        severity,
        section,
        what: what.into(),
        amount,
        percent,
        meaning: meaning.into(),
        explain: None,
        when: None,
    }
}

/// Adds a finding if `used` is a large share of `limit`.
fn fill(
    findings: &mut Vec<Finding>,
    [watch, sick]: [f64; 2],
    section: &'static str,
    what: impl Into<String>,
    (used, limit): (u64, u64),
    meaning: impl Into<String>,
) {
    let share = percent(used, limit).unwrap_or(if used > 0 { 100.0 } else { 0.0 });
    if let Some(severity) = by(share, watch, sick) {
        let amount = format!("{} of {}", Count(used), Count(limit));
        findings.push(finding(severity, section, what, amount, Some(share), meaning));
    }
}

fn listen_queues(picture: &Picture, findings: &mut Vec<Finding>) {
    match &picture.listeners {
        Some(listeners) => {
            for listener in listeners {
                let what = SocketAddr::from((listener.address, listener.port)).to_string();
                let queue = (listener.waiting.into(), listener.limit.into());
                let meaning = match picture.sockets.listeners.get(&listener.inode) {
                    Some(Owner::Process { pid, comm }) => format!("wait for accept() by {comm}[{pid}]"),
                    _ => "wait for accept()".to_owned(),
                };
                fill(findings, QUEUE, "listen_queues", what, queue, meaning);
            }
        }
        None => {
            for (_, address, port, waiting) in &picture.sockets.waiting {
                if *waiting > 0 {
                    let what = SocketAddr::from((*address, *port)).to_string();
                    let (amount, meaning) =
                        (Count((*waiting).into()).to_string(), "wait for accept(); the limit is unknown");
                    findings.push(finding(Severity::Watch, "listen_queues", what, amount, None, meaning));
                }
            }
        }
    }
}

fn conntrack(picture: &Picture, changes: Option<&Changes>, findings: &mut Vec<Finding>) {
    if let Some(conntrack) = &picture.conntrack
        && let (Some(count), Some(max)) = (conntrack.count, conntrack.max)
        // No limit.
        && max > 0
    {
        fill(findings, FULL, "conntrack", "conntrack", (count, max), "when full, new connections are dropped");
    }
    for (column, severity, meaning) in [
        ("drop", Severity::Sick, "packets dropped: the table was full"),
        ("early_drop", Severity::Watch, "connections thrown out to make room"),
        ("insert_failed", Severity::Watch, "two packets made the same connection at once"),
    ] {
        moved(picture, changes, findings, ("nf_conntrack", column), severity, "conntrack", meaning);
    }
}

/// Returns how far a counter of a table in `stat/` moved; `None` if it did not.
fn moved(
    picture: &Picture,
    changes: Option<&Changes>,
    findings: &mut Vec<Finding>,
    (table, column): (&'static str, &'static str),
    severity: Severity,
    section: &'static str,
    meaning: &str,
) {
    let count = match changes {
        Some(changes) => changes.percpu.iter().find(|(t, c, _)| *t == table && c == column).map(|(.., sum)| *sum),
        None => picture.percpu.get(table).and_then(|table| table.sum(column)),
    };
    if let Some(count) = count.filter(|count| *count > 0) {
        let amount = Count(count).to_string();
        findings.push(finding(severity, section, format!("{table} {column}"), amount, None, meaning));
    }
}

fn memory(picture: &Picture, findings: &mut Vec<Finding>) {
    let limits = &picture.limits;
    let stat = |group, key| sockstat::find(&picture.sockstat, group, key);
    for (what, pages, limit) in
        [("tcp_mem", stat("TCP", "mem"), limits.tcp_mem), ("udp_mem", stat("UDP", "mem"), limits.udp_mem)]
    {
        if let (Some(pages), Some([_, pressure, most])) = (pages, limit)
            && let Some(severity) = by(percent(pages, pressure).unwrap_or(0.0), FULL[0], 100.0)
        {
            let amount = format!("{} pages", Count(pages));
            let meaning = format!("buffers shrink from {} on, nothing beyond {}", Count(pressure), Count(most));
            findings.push(finding(severity, "memory", what, amount, percent(pages, most), meaning));
        }
    }
    for (what, count, limit, meaning) in [
        ("orphans", stat("TCP", "orphan"), limits.tcp_max_orphans, "sockets without a process; beyond, they are reset"),
        ("time_wait", stat("TCP", "tw"), limits.tcp_max_tw_buckets, "beyond, TIME_WAIT is cut short"),
    ] {
        if let (Some(count), Some(limit)) = (count, limit) {
            fill(findings, FULL, "memory", what, (count, limit), meaning);
        }
    }
}

fn ports(picture: &Picture, findings: &mut Vec<Finding>) {
    let Some(ports) = picture.limits.ports() else { return };
    let taken = picture.sockets.port_use;
    if taken.is_bound(ports) {
        let meaning = "ports taken by bind(): for every destination";
        fill(findings, PORTS, "ports", "to every destination", (taken.ports.into(), ports.into()), meaning);
    }
    for to in &picture.sockets.destinations {
        let what = format!("to {}", SocketAddr::from((to.raddr, to.rport)));
        let meaning = format!("local ports in use from {}", to.laddr);
        fill(findings, PORTS, "ports", what, (to.ports.into(), ports.into()), meaning);
    }
}

fn interfaces(picture: &Picture, changes: Option<&Changes>, findings: &mut Vec<Finding>) {
    for interface in &picture.interfaces {
        let change =
            changes.and_then(|c| c.devices.iter().find(|d| d.name == interface.name && d.presence == Presence::Stayed));
        if changes.is_some() && change.is_none() {
            continue;
        }
        let counter = |name: &str| match change {
            Some(change) => change.counter(name),
            None => interface.counter(name),
        };
        for (direction, errors, drops, packets) in
            [("rx", "rx_errors", "rx_dropped", "rx_packets"), ("tx", "tx_errors", "tx_dropped", "tx_packets")]
        {
            let kinds = [
                (counter(errors), 1, ERRORS, format!("{direction} errors"), "damaged on the wire or by the device"),
                (counter(drops), FEW, DROPS, format!("{direction} drops"), "no room, or no receiver"),
            ];
            for (count, least, [watch, sick], kind, meaning) in kinds {
                let share = percent(count, counter(packets).saturating_add(count)).unwrap_or(0.0);
                if let Some(severity) = by(share, watch, sick).filter(|_| count >= least) {
                    // A device that comes up drops a large share of very few packets.
                    let severity = if count < FEW { Severity::Watch } else { severity };
                    let (what, amount) = (format!("{} {kind}", interface.name), Count(count).to_string());
                    findings.push(finding(severity, "interfaces", what, amount, Some(share), meaning));
                }
            }
        }
        carrier(interface, findings);
    }
}

/// Finds a device that is meant to carry packets and does not.
fn carrier(interface: &Interface, findings: &mut Vec<Finding>) {
    let Some(link) = interface.link.as_ref().filter(|link| !link.loopback) else { return };
    let routable = |address: &IpAddr| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    };
    if !interface.addresses.iter().any(|(address, _)| routable(address)) {
        return;
    }
    let meaning = match (link.up, link.running) {
        (true, true) => return,
        (true, false) => "has an address but no carrier",
        (false, _) => "has an address but is not set up",
    };
    let amount = link.operstate.unwrap_or("down").to_owned();
    findings.push(finding(Severity::Watch, "interfaces", interface.name.as_str(), amount, None, meaning));
}

fn softnet(picture: &Picture, changes: Option<&Changes>, findings: &mut Vec<Finding>) {
    let [processed, dropped, squeezed] = totals(picture, changes);
    if dropped > 0 {
        let (amount, share) = (Count(dropped).to_string(), percent(dropped, processed));
        let meaning = "a CPU's backlog was full: net.core.netdev_max_backlog";
        findings.push(finding(Severity::Sick, "softnet", "softnet drops", amount, share, meaning));
    }
    let share = percent(squeezed, processed).unwrap_or(0.0);
    if let Some(severity) = by(share, SQUEEZES[0], SQUEEZES[1]).filter(|_| squeezed > 0) {
        let amount = Count(squeezed).to_string();
        let meaning = "a CPU had packets left over: net.core.netdev_budget";
        findings.push(finding(severity, "softnet", "softnet time_squeeze", amount, Some(share), meaning));
    }
}

/// Returns processed, dropped and time squeezes, all CPUs together.
pub fn totals(picture: &Picture, changes: Option<&Changes>) -> [u64; 3] {
    match changes {
        Some(changes) => changes.softnet,
        None => picture.softnet.iter().fold([0; 3], |[processed, dropped, squeezed], cpu| {
            [
                processed + u64::from(cpu.processed()),
                dropped + u64::from(cpu.dropped()),
                squeezed + u64::from(cpu.time_squeeze()),
            ]
        }),
    }
}

fn neighbours(picture: &Picture, changes: Option<&Changes>, findings: &mut Vec<Finding>) {
    for neighbour in picture.neighbours.iter().flatten().filter(|neighbour| neighbour.is_unanswered()) {
        let device = picture.device(neighbour.ifindex).unwrap_or("?");
        let meaning = format!("does not answer on {device}: away, or wrong VLAN");
        let state = neighbour.state_name().to_owned();
        findings.push(finding(Severity::Watch, "neighbours", neighbour.address.to_string(), state, None, meaning));
    }
    for (table, limit) in [("arp_cache", picture.limits.neighbours[0]), ("ndisc_cache", picture.limits.neighbours[1])] {
        // Every line has the same number.
        let entries = picture.percpu.get(table).and_then(|table| {
            let at = table.names.iter().position(|name| name == "entries")?;
            table.cpus.first()?.get(at).copied()
        });
        if let (Some(entries), Some(limit)) = (entries, limit) {
            let meaning = "neighbours; when full, new ones are unreachable";
            fill(findings, FULL, "neighbours", table, (entries.into(), limit), meaning);
        }
        let meaning = "neighbour table full: raise gc_thresh3";
        moved(picture, changes, findings, (table, "table_fulls"), Severity::Sick, "neighbours", meaning);
    }
}

fn states(owned: &Owned, findings: &mut Vec<Finding>) {
    let Owner::Process { pid, comm } = &owned.owner else { return };
    for (state, [watch, sick], meaning) in [
        (TcpState::CloseWait, CLOSE_WAIT, "CLOSE_WAIT: the peer closed, the process did not"),
        (TcpState::SynSent, SYN_SENT, "SYN_SENT: its connect() gets no answer"),
    ] {
        let count = owned.in_state(state);
        #[expect(clippy::cast_precision_loss, reason = "a number of sockets is far below 2^52")]
        if let Some(severity) = by(count as f64, watch, sick) {
            let amount = Count(count).to_string();
            findings.push(finding(severity, "sockets", format!("{comm}[{pid}]"), amount, None, meaning));
        }
    }
}
