//! The cells of the table.

use std::fmt::Write as _;

use super::super::{escape, text::ends, unit::Count};
use super::aggregate::{Flow, FlowEnds, Row};
use tracer_stream::{self as stream, ConnId, OwnerSource, Role, Socket};

/// Stands for a field in which the packets of a row differ.
const OTHER: &str = "(other)";
/// Columns of most protocols.
const PROTOCOL: usize = 4;

/// Appends the reason, at most `columns` wide.
pub(super) fn reason(out: &mut String, row: &Row, columns: usize) {
    if let Some(reason) = &row.key.reason {
        escape::push_cut(out, &reason.name, columns);
    }
}

/// Appends the call, at most `columns` wide: drops the offset rather than cut the name.
pub(super) fn location(out: &mut String, row: &Row, columns: usize) {
    let symbol = match &row.symbol.0 {
        _ if row.is_other => OTHER,
        Some(symbol) if escape::width(symbol) <= columns => symbol,
        Some(symbol) => symbol.split_once("+0x").map_or(&**symbol, |(function, _)| function),
        None => "-",
    };
    escape::push_cut(out, symbol, columns);
}

/// Appends `comm[pid]`, with the name cut to fit.
pub(super) fn owner(out: &mut String, row: &Row, columns: usize) {
    let Some(owner) = &row.owner else {
        escape::push_cut_plain(out, if row.is_other { OTHER } else { "-" }, columns);
        return;
    };
    let id = format!("[{}]", owner.pid);
    escape::push_cut(out, &owner.comm, columns.saturating_sub(id.len()).max(1));
    out.push_str(&id);
}

/// Appends protocol and ends, in about `columns`: leaves out the local address rather than a port.
pub(super) fn flow(out: &mut String, row: &Row, columns: usize) {
    let (protocol, ends, netns) = match row.key.flow {
        Some(Flow::One { protocol, ends, netns }) => (protocol, ends, netns),
        Some(Flow::Mixed) => return out.push_str("(many flows)"),
        None => return out.push_str(OTHER),
    };
    let proto = protocol.or(row.socket.0.map(|socket| socket.proto)).unwrap_or("-");
    let begin = out.len();
    let _ = write!(out, "{proto:PROTOCOL$} ");
    let room = columns.saturating_sub(out.len() - begin);
    let Some(socket) = socket(ends, netns) else { return out.push('-') };
    let mut whole = Vec::new();
    if ends::whole(&mut whole, &socket) <= room {
        out.push_str(&String::from_utf8_lossy(&whole));
    } else {
        let mut short = String::new();
        ends::short(&mut short, &socket, room);
        out.push_str(&short);
    }
}

/// Makes a socket of the ends, as if it sends the packet.
fn socket(ends: FlowEnds, netns: Option<u32>) -> Option<Socket<'static>> {
    let unknown = Socket {
        conn: ConnId::NONE,
        proto: "",
        family: 0,
        v4mapped: false,
        laddr: None,
        lport: None,
        raddr: None,
        rport: None,
        ifindex: None,
        netns,
        home: None,
        role: Role::Client,
        owner: None,
        owner_source: OwnerSource::Unknown,
        holders: &[],
        v6only: None,
        mptcp: false,
    };
    match ends {
        FlowEnds::Packet(ends) => Some(Socket {
            laddr: Some(ends.saddr),
            lport: ends.sport,
            raddr: Some(ends.daddr),
            rport: ends.dport,
            ..unknown
        }),
        // The packet's direction is unknown.
        FlowEnds::Socket(ends) if ends.laddr.is_some() || ends.raddr.is_some() => Some(Socket {
            laddr: ends.laddr,
            lport: ends.lport,
            raddr: ends.raddr,
            rport: ends.rport,
            ifindex: ends.ifindex,
            role: Role::Unknown,
            ..unknown
        }),
        FlowEnds::Socket(_) | FlowEnds::Unknown => None,
    }
}

/// Appends the details that a wide line has after the columns.
pub(super) fn details(out: &mut String, row: &Row) {
    if let Some(reason) = &row.key.reason {
        let _ = write!(out, " {}", reason.class.name());
    }
    if let Some(direction) = row.direction.0.and_then(stream::direction) {
        let _ = write!(out, " {direction}");
    }
    if let Some(iface) = &row.iface.0 {
        let _ = write!(out, " dev={}", escape::Escaped(iface));
    }
    if let Some(netns) = row.netns.0 {
        let _ = write!(out, " netns={netns}");
    }
    if let Some(owner) = &row.owner {
        if let Some(uid) = owner.uid {
            let _ = write!(out, " uid={uid}");
        }
        if let Some(exe) = &owner.facts.exe {
            let _ = write!(out, " exe={}", escape::Escaped(exe));
        }
    }
}

/// Formats a rate by the second: `1,234`, `12`, `3.4`, `<0.1`, `0`.
pub(super) fn rate(count: u64, over_ns: u64) -> String {
    let tenths = u128::from(count) * 10_000_000_000 / u128::from(over_ns.max(1));
    match tenths {
        _ if count == 0 => "0".to_owned(),
        0 => "<0.1".to_owned(),
        1..100 => format!("{}.{}", tenths / 10, tenths % 10),
        _ => Count(u64::try_from(tenths / 10).unwrap_or(u64::MAX)).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_short() {
        for (count, over_ns, text) in [
            (0, 1_000_000_000, "0"),
            (1, 1_000_000_000, "1.0"),
            (1, 60_000_000_000, "<0.1"),
            (99, 10_000_000_000, "9.9"),
            (100, 10_000_000_000, "10"),
            (12_345, 1_000_000_000, "12,345"),
            (1, 0, "1,000,000,000"),
        ] {
            assert_eq!(rate(count, over_ns), text);
        }
    }
}
