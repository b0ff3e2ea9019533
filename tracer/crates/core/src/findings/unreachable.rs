//! The network cannot, or may not, deliver packets to their destination.

use tracer_explain::numbers;
use tracer_stream::{Kind, Verdict};

use super::{
    Case, Facts, Subject, Weight,
    rule::{ONE_CONNECTION, Rule, counted, destination, end, of_owners, packets, remote},
};

/// A host whose neighbour does not answer is one case; an ICMP error concerns one port, and names its sender.
pub const RULE: Rule = Rule {
    name: "peer_unreachable",
    least: 1,
    speaks: |event, _| match event.kind {
        Kind::Drop(drop) if drop.reason.as_deref().is_some_and(|name| name.starts_with("NEIGH_")) => {
            let subject = Subject { port: None, ..destination(event, drop)? };
            Some((subject, Weight { certain: true, ..packets(drop) }))
        }
        Kind::Close(close) if close.verdict == Verdict::Unreachable => {
            let remote = remote(event.socket.as_ref()?);
            // Without a message the host itself detected it: no neighbour has answered.
            let other = |errno: &i32| close.icmp.is_none() && *errno != libc::EHOSTUNREACH;
            let what = close.errno.filter(other).and_then(numbers::name).map(Into::into);
            let port = remote.port.filter(|_| what.is_some() || close.icmp.is_some());
            Some((Subject { port, what, icmp: close.icmp, ..remote }, ONE_CONNECTION))
        }
        _ => None,
    },
    say,
    look: &["ip neigh", "ip route get ADDRESS"],
};

fn say(case: &Case, _: &Facts) -> String {
    let end = if case.subject.addr.is_some() { end(case) } else { "the destination".to_owned() };
    let said = match case.subject.icmp {
        Some(icmp) => {
            let message = format!("{} {}/{} from {}", icmp.protocol(), icmp.kind, icmp.code, icmp.from);
            let meaning = icmp.meaning().map_or_else(String::new, |meaning| format!("{meaning}, "));
            if icmp.is_prohibition() {
                format!("{end} is prohibited ({meaning}{message})")
            } else {
                format!("{end} cannot be reached ({meaning}{message})")
            }
        }
        None if case.certain => format!("{end} cannot be reached, no neighbour answers for it"),
        None => match &case.subject.what {
            Some(errno) => format!("{end} cannot be reached ({errno})"),
            None => format!("{end} cannot be reached: no neighbour answers for it, or a router says so"),
        },
    };
    let mut counts = Vec::new();
    if case.connections > 0 {
        counts.push(format!("{} failed", counted(case.connections, "connection")));
    }
    if case.packets > 0 {
        counts.push(format!("{} dropped", counted(case.packets, "packet")));
    }
    format!("{said}: {}{}", counts.join(", "), of_owners(case))
}
