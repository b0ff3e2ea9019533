//! Rows as objects: kind `drop`, with the keys of the stream that all packets of the row share.

use super::super::{
    clock::{Rfc3339, WallClock},
    json::{
        address, discard, head, name, optional, optional_string,
        packets::{push_tcp_flags, write_ends, write_stack},
        string, write_owner,
    },
    number::append as number,
    summary::Summary,
};
use crate::{
    drops::{Discarded, Flow, FlowEnds, Row},
    stream::{self, ConnId, Direction},
};

/// Appends an object for each row. Its time is that of the last packet.
pub(super) fn write(out: &mut Vec<u8>, clock: WallClock, rows: &[&Row]) {
    let mut time = Rfc3339::default();
    for row in rows {
        head(out, &mut time, clock, "drop", row.last_ns);
        out.extend_from_slice(b",\"count\":");
        number(out, row.count);
        for (key, boot_ns) in [(&b",\"first\":\""[..], row.first_ns), (b",\"last\":\"", row.last_ns)] {
            out.extend_from_slice(key);
            time.write(out, clock.wall_ns(boot_ns));
            out.push(b'"');
        }
        optional(out, b",\"first_boot_ns\":", Some(row.first_ns));
        if row.is_other {
            out.extend_from_slice(b",\"other\":true");
        }
        reason(out, row);
        location(out, row);
        packet(out, row);
        socket(out, row);
        write_stack(out, &row.stack);
        out.extend_from_slice(b"}\n");
    }
}

/// Appends an object for each counter and socket. Its time is that of the last look.
pub(super) fn write_discards(out: &mut Vec<u8>, clock: WallClock, rows: &[&Discarded]) {
    let mut time = Rfc3339::default();
    for row in rows {
        head(out, &mut time, clock, "discard", row.last_ns);
        discard::write(out, &row.discard);
        for (key, boot_ns) in [(&b",\"first\":\""[..], row.first_ns), (b",\"last\":\"", row.last_ns)] {
            out.extend_from_slice(key);
            time.write(out, clock.wall_ns(boot_ns));
            out.push(b'"');
        }
        name(out, b",\"proto\":\"", row.proto);
        address(out, b",\"laddr\":", row.local.map(|local| local.0));
        optional(out, b",\"lport\":", row.local.map(|local| local.1));
        optional(out, b",\"netns\":", row.netns);
        out.extend_from_slice(b",\"owner\":");
        match &row.owner {
            Some(owner) => write_owner(out, owner),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Appends the last line.
pub(super) fn summary(out: &mut Vec<u8>, clock: WallClock, boot_ns: u64, summary: &Summary) {
    head(out, &mut Rfc3339::default(), clock, "summary", boot_ns);
    summary.write_json(out);
    out.extend_from_slice(b"}\n");
}

fn reason(out: &mut Vec<u8>, row: &Row) {
    let Some(reason) = &row.key.reason else { return };
    out.extend_from_slice(b",\"reason\":");
    optional_string(out, row.reason.0.as_deref());
    optional(out, b",\"reason_id\":", row.reason_id.0);
    name(out, b",\"class\":\"", reason.class.name());
}

fn location(out: &mut Vec<u8>, row: &Row) {
    let Some(location) = row.key.location else { return };
    out.extend_from_slice(b",\"location\":");
    match location {
        Some(at) => string(out, &format!("{at:#x}")),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"symbol\":");
    optional_string(out, row.symbol.0.as_deref());
}

/// Appends the keys of the packets.
fn packet(out: &mut Vec<u8>, row: &Row) {
    if let Some(iface) = &row.iface.0 {
        out.extend_from_slice(b",\"iface\":");
        string(out, iface);
    }
    if let Some(direction) = row.direction.0.filter(|direction| *direction != Direction::Unknown) {
        out.extend_from_slice(b",\"direction\":");
        optional_string(out, stream::direction(direction));
    }
    if row.len.0.is_some() {
        optional(out, b",\"len\":", row.len.0);
    }
    if let Some(flags) = row.tcp_flags.0 {
        out.extend_from_slice(b",\"tcp_flags\":\"");
        push_tcp_flags(out, flags);
        out.push(b'"');
    }
    if row.seq.0.is_some() {
        optional(out, b",\"seq\":", row.seq.0);
    }
    match row.key.flow {
        Some(Flow::One { protocol, ends, .. }) => {
            out.extend_from_slice(b",\"protocol\":");
            optional_string(out, protocol);
            if let FlowEnds::Packet(ends) = ends {
                out.push(b',');
                write_ends(out, &ends);
            }
        }
        Some(Flow::Mixed) => out.extend_from_slice(b",\"mixed\":true"),
        None => {}
    }
}

/// Appends the keys of the socket and its owner.
fn socket(out: &mut Vec<u8>, row: &Row) {
    if let (Some(socket), Some(_)) = (&row.socket.0, row.key.flow) {
        out.extend_from_slice(b",\"conn\":");
        match row.conn.0.filter(|conn| *conn != ConnId::NONE) {
            Some(conn) => string(out, &conn.0.to_string()),
            None => out.extend_from_slice(b"null"),
        }
        name(out, b",\"proto\":\"", socket.proto);
        optional(out, b",\"family\":", Some(socket.family).filter(|family| *family != 0));
        if socket.v4mapped {
            out.extend_from_slice(b",\"v4mapped\":true");
        }
        address(out, b",\"laddr\":", socket.laddr);
        optional(out, b",\"lport\":", socket.lport);
        address(out, b",\"raddr\":", socket.raddr);
        optional(out, b",\"rport\":", socket.rport);
        if socket.ifindex.is_some() {
            optional(out, b",\"ifindex\":", socket.ifindex);
        }
    }
    if row.netns.0.is_some() {
        optional(out, b",\"netns\":", row.netns.0);
    }
    if row.socket_netns.0.is_some() {
        optional(out, b",\"socket_netns\":", row.socket_netns.0);
    }
    if let Some(role) = row.role.0 {
        name(out, b",\"role\":\"", role.name());
    }
    if row.key.owner.is_none() {
        return;
    }
    out.extend_from_slice(b",\"owner\":");
    match &row.owner {
        Some(owner) => write_owner(out, owner),
        None => out.extend_from_slice(b"null"),
    }
    if let Some(source) = row.owner_source.0 {
        name(out, b",\"owner_source\":\"", source.name());
    }
}
