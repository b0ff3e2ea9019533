//! All ports of the range are taken: connect() and bind() find no free one.

use tracer_stream::{Event, Kind, Role, Verdict};

use super::{
    Case, Facts, Subject,
    rule::{ONE_CONNECTION, Rule, counted, end, of_owners, remote},
};

/// One case for each destination; for bind() without a port, one for each local address.
pub const RULE: Rule = Rule {
    name: "ports_exhausted",
    least: 1,
    speaks: |event, _| {
        let socket = event.socket.as_ref()?;
        // The kernel looks for a port when the address is chosen and the connection has begun: the connection ends.
        // Without a local address, the address was missing (IPv6).
        if let Kind::Close(close) = event.kind
            && (close.verdict, close.errno) == (Verdict::FailedLocal, Some(libc::EADDRNOTAVAIL))
            && socket.role != Role::Listener
            && (socket.laddr.is_some(), socket.lport.is_none()) == (true, true)
        {
            return Some((remote(socket), ONE_CONNECTION));
        }
        is_bind_to_any(event).then(|| {
            let subject =
                Subject { addr: socket.laddr, netns: socket.netns, what: Some("bind".into()), ..Subject::default() };
            (subject, ONE_CONNECTION)
        })
    },
    say,
    look: &["ss -s", "sysctl net.ipv4.ip_local_port_range net.ipv4.tcp_tw_reuse"],
};

/// Whether a bind() that left the choice of a port to the kernel found no free one.
pub(super) fn is_bind_to_any(event: &Event<'_>) -> bool {
    matches!(event.kind, Kind::Bind { errno: libc::EADDRINUSE, .. })
        && event.socket.is_some_and(|socket| socket.lport.is_none())
}

fn say(case: &Case, facts: &Facts) -> String {
    let ports = facts.of(case.subject.netns).and_then(|facts| facts.ports);
    let range = ports.map_or(String::new(), |(first, last)| format!(" (ports {first}-{last})"));
    if case.subject.what.is_some() {
        let at = case.subject.addr.map_or_else(String::new, |addr| format!(" at {addr}"));
        let calls = counted(case.connections, "bind() call");
        return format!("no local port is left{at}{range}: {calls}{} failed", of_owners(case));
    }
    let count = counted(case.connections, "connection");
    format!("no local port is left for {}{range}: {count}{} failed", end(case), of_owners(case))
}
