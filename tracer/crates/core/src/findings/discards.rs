//! Discards for lack of room, or without a tracepoint event: judged by drop events and by the kernel's counters. A
//! cause that both show is one finding.

use tracer_stream::{Discard, Endpoint, Event, Kind};
use tracer_tables::discards::counter::{LISTEN_DROPS, OVERFLOWS, UDP_FULL};

use super::{
    Case, Facts, Subject, Weight,
    rule::{Rule, cause, counted, dropped, netns, of_owners, packets},
};

/// A listener's queue of connections that wait for accept() is full.
pub(super) const ACCEPT_QUEUE: Rule = Rule {
    name: "accept_queue_overflow",
    least: 1,
    speaks: |event, _| {
        let socket = event.socket;
        let owner = socket.and_then(|socket| socket.owner);
        let of = |port| Subject {
            pid: owner.map(|owner| owner.pid),
            addr: socket.and_then(|socket| socket.laddr),
            port,
            netns: netns(event),
            ..Subject::default()
        };
        if let Some(discard) = discarded(event) {
            let full = discard.queue.zip(discard.backlog).is_some_and(|(queue, backlog)| queue > backlog);
            let is = discard.counter == OVERFLOWS || discard.counter == LISTEN_DROPS && full;
            return is.then(|| (of(socket.and_then(|socket| socket.lport)), weight(discard)));
        }
        let drop = dropped(event).filter(|drop| drop.reason.as_deref() == Some("TCP_LISTEN_OVERFLOW"))?;
        Some((of(socket.and_then(|socket| socket.lport).or(drop.ends?.dport)), packets(drop)))
    },
    say: |case, facts| match &case.discard {
        Some(discard) => syns_discarded(case, discard),
        None => last_acks_dropped(case, facts),
    },
    look: &["ss -lnt", "tracer explain TcpExtListenOverflows"],
};

/// The sentence for the kernel's counter, which comes with the queue's length.
fn syns_discarded(case: &Case, discard: &Discard) -> String {
    let mut counts = Vec::new();
    if case.discarded > 0 {
        let what = if discard.syns { "SYN" } else { "SYN or last ACK of a handshake" };
        let several = if discard.syns { "SYNs" } else { "SYNs or last ACKs of handshakes" };
        counts.push(format!("{} {}", case.discarded, if case.discarded == 1 { what } else { several }));
    }
    let dropped = case.packets.saturating_sub(case.discarded);
    if dropped > 0 {
        let what = if dropped == 1 { "last ACK of a handshake" } else { "last ACKs of handshakes" };
        counts.push(format!("{dropped} {what}"));
    }
    let clients: Vec<String> = discard.clients.iter().map(|owner| format!("{}[{}]", owner.comm, owner.pid)).collect();
    let clients = if clients.is_empty() { String::new() } else { format!(" of {}", clients.join(", ")) };
    let to = match case.subject {
        Subject { addr: None, port: None, .. } => String::new(),
        Subject { addr, port, .. } => format!(" to {}", Endpoint { addr, port, ifindex: None }),
    };
    let by = of_owners(case).replacen(" of ", " by ", 1);
    let queue = match (discard.queue, discard.backlog) {
        (Some(queue), Some(backlog)) => format!("accept queue {queue} of {backlog}"),
        _ => "accept queue full".to_owned(),
    };
    let idle = match discard.no_accept_us.map(|us| us / 1_000_000) {
        Some(seconds) if seconds > 0 => format!(", no accept() for {seconds} s"),
        _ => String::new(),
    };
    format!("{}{clients}{to} discarded{by}: {queue}{idle}", counts.join(" and "))
}

fn last_acks_dropped(case: &Case, facts: &Facts) -> String {
    let port = case.subject.port.map_or(String::new(), |port| format!(" on port {port}"));
    let mut limits = Vec::new();
    if let Some(backlog) = case.backlog {
        limits.push(format!("backlog {backlog}"));
    }
    if let Some(most) = facts.of(case.subject.netns).and_then(|facts| facts.somaxconn) {
        limits.push(format!("net.core.somaxconn {most}"));
    }
    let limits = if limits.is_empty() { String::new() } else { format!(" ({})", limits.join(", ")) };
    let count = counted(case.packets, "packet");
    format!("the accept queue{}{port} is full{limits}: {count} dropped", of_owners(case))
}

/// A process does not read its data fast enough.
pub(super) const RECEIVE_BUFFER: Rule = Rule {
    name: "receive_buffer_full",
    least: 1,
    speaks: |event, _| {
        let owner = event.socket.and_then(|socket| socket.owner);
        let lport = event.socket.and_then(|socket| socket.lport);
        // A port has one cause, even before its owner is known.
        let pid_at = |port: Option<u16>| owner.map(|owner| owner.pid).filter(|_| port.is_none());
        if let Some(discard) = discarded(event) {
            // Without a socket it is a number of a namespace.
            let port = Some(lport.filter(|_| UDP_FULL.contains(&discard.counter))?);
            let what = Some("SOCKET_RCVBUFF".into());
            let pid = pid_at(port);
            return Some((Subject { pid, port, what, netns: netns(event), ..Subject::default() }, weight(discard)));
        }
        let full = ["SOCKET_RCVBUFF", "SOCKET_BACKLOG", "PROTO_MEM"];
        let drop = dropped(event).filter(|drop| drop.reason.as_deref().is_some_and(|name| full.contains(&name)))?;
        let port = lport.or(drop.ends.and_then(|ends| ends.dport));
        let pid = pid_at(port);
        Some((Subject { pid, port, what: cause(drop), netns: netns(event), ..Subject::default() }, packets(drop)))
    },
    say: |case, _| {
        if case.discarded > 0 && case.discarded == case.packets {
            let count = counted(case.packets, "datagram");
            let end = Endpoint { addr: case.local, port: case.subject.port, ifindex: None };
            return format!("{count} to {end}{} discarded: receive buffer full", of_owners(case));
        }
        let who = case.owners.first().map_or_else(|| "a process".to_owned(), |(pid, comm)| format!("{comm}[{pid}]"));
        let port = case.subject.port.map_or(String::new(), |port| format!(" on port {port}"));
        let cause = case.subject.what.as_deref().unwrap_or("full");
        let count = counted(case.packets, "packet");
        if cause == "PROTO_MEM" {
            // The process is not at fault: the limit is the host's.
            return format!("{count} to {who}{port} dropped: the memory of its protocol is used up (PROTO_MEM)");
        }
        format!("{who} does not read fast enough{port}: {count} dropped, its receive buffer is full ({cause})")
    },
    look: &["ss -ulnpm", "sysctl net.core.rmem_max net.ipv4.udp_mem net.ipv4.tcp_rmem"],
};

/// Another counter has moved.
pub(super) const DISCARDED: Rule = Rule {
    name: "discarded",
    least: 1,
    speaks: |event, _| {
        let discard = discarded(event)?;
        let what = match &discard.iface {
            Some(iface) => format!("{} of {iface}", discard.counter),
            None => discard.counter.to_owned(),
        };
        let socket = event.socket;
        let subject = Subject {
            pid: socket.and_then(|socket| socket.owner).map(|owner| owner.pid),
            addr: socket.and_then(|socket| socket.laddr),
            port: socket.and_then(|socket| socket.lport),
            netns: netns(event),
            what: Some(what.into()),
            ..Subject::default()
        };
        Some((subject, weight(discard)))
    },
    say: |case, _| {
        let what = case.subject.what.as_deref().unwrap_or_default();
        let meaning = case.discard.as_ref().map_or("", |discard| discard.meaning);
        let at = match case.subject {
            Subject { port: None, .. } => String::new(),
            Subject { addr, port, .. } => format!(" at {}", Endpoint { addr, port, ifindex: None }),
        };
        let meaning = if case.packets == 1 { singular(meaning) } else { meaning.to_owned() };
        format!("{} {meaning}{at}{} ({what})", case.packets, of_owners(case))
    },
    look: &["nstat -az", "tracer net", "tracer explain COUNTER"],
};

/// The singular of a counter's meaning, which begins with a plural noun.
fn singular(meaning: &str) -> String {
    let mut words: Vec<&str> = meaning.split(' ').collect();
    if let Some(word) = words.iter_mut().find(|word| word.ends_with('s')) {
        *word = word.trim_end_matches('s');
    }
    words.join(" ")
}

fn discarded<'a>(event: &Event<'a>) -> Option<&'a Discard> {
    match event.kind {
        Kind::Discard(discard) => Some(discard),
        _ => None,
    }
}

fn weight(discard: &Discard) -> Weight {
    Weight { packets: discard.count, ..Weight::default() }
}

#[cfg(test)]
mod tests;
