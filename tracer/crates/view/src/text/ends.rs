//! Both ends of a connection.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;

use super::super::number;
use tracer_stream::{Endpoint, Role, Socket};

/// Least columns of a cut address: `[20…01]`.
const LEAST_ADDRESS: usize = 7;

/// Returns the arrow for the direction in which the connection was opened.
fn arrow(role: Role) -> &'static str {
    match role {
        Role::Client => " → ",
        Role::Server => " ← ",
        Role::Listener | Role::Unknown => " - ",
    }
}

/// Whether it has only a local end: a listener, a UDP socket, a number of a namespace.
fn is_alone(socket: &Socket<'_>) -> bool {
    let nobody = socket.raddr.is_none() && socket.rport.is_none();
    socket.role == Role::Listener || socket.role == Role::Unknown && nobody
}

/// Returns the local address, or `None` (`*`, as in `ss`) for a listener at every address of both families.
fn local(socket: &Socket<'_>) -> Option<IpAddr> {
    socket.laddr.filter(|addr| !(addr.is_ipv6() && addr.is_unspecified() && socket.v6only == Some(false)))
}

/// Appends local and remote end, or the local one alone. Returns the columns used.
pub fn whole(out: &mut Vec<u8>, socket: &Socket<'_>) -> usize {
    let begin = out.len();
    if is_alone(socket) && socket.laddr.is_none() && socket.lport.is_none() {
        out.push(b'-');
        return 1;
    }
    append_end(out, local(socket), socket.lport, socket.ifindex);
    if !is_alone(socket) {
        out.extend_from_slice(arrow(socket.role).as_bytes());
        append_end(out, socket.raddr, socket.rport, socket.ifindex);
    }
    columns(&out[begin..])
}

fn append_end(out: &mut Vec<u8>, addr: Option<IpAddr>, port: Option<u16>, ifindex: Option<u32>) {
    let Some(IpAddr::V4(addr)) = addr else {
        // Writing to a Vec does not fail.
        return drop(io::Write::write_fmt(out, format_args!("{}", Endpoint { addr, port, ifindex })));
    };
    number::append_ipv4(out, addr);
    out.push(b':');
    match port {
        Some(port) => number::append(out, port.into()),
        None => out.push(b'*'),
    }
}

/// Returns the columns of our own text: every character takes one.
pub fn columns(text: &[u8]) -> usize {
    // Counts the bytes that begin a character.
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// Appends the ends without the local address, and with the remote one cut in the middle to fit into
/// `columns`; the ports are always whole.
pub fn short(out: &mut String, socket: &Socket<'_>, columns: usize) {
    let (addr, port) = if is_alone(socket) {
        (local(socket), socket.lport)
    } else {
        push_port(out, socket.lport);
        out.push_str(arrow(socket.role));
        (socket.raddr, socket.rport)
    };
    let mut end = String::new();
    push_port(&mut end, port);
    let room = columns.saturating_sub(super::escape::width(out) + end.len());
    push_address(out, addr, socket.ifindex, room.max(LEAST_ADDRESS));
    out.push_str(&end);
}

fn push_port(out: &mut String, port: Option<u16>) {
    let _ = match port {
        Some(port) => write!(out, ":{port}"),
        None => write!(out, ":*"),
    };
}

fn push_address(out: &mut String, addr: Option<IpAddr>, ifindex: Option<u32>, columns: usize) {
    let begin = out.len();
    // Formats it with `:*`, then removes that.
    let _ = write!(out, "{}", Endpoint { addr, port: None, ifindex });
    out.truncate(out.len() - ":*".len());
    let length = out.len() - begin;
    if length > columns {
        // An address is ASCII. The beginning is worth more than the end.
        let kept = columns - 1;
        let head = kept.div_ceil(2);
        out.replace_range(begin + head..out.len() - (kept - head), "…");
    }
}

#[cfg(test)]
mod tests {
    use tracer_stream::sample;

    use super::*;

    fn socket(role: Role, laddr: &str, raddr: &str) -> Socket<'static> {
        let (laddr, raddr) = (laddr.parse().ok(), raddr.parse().ok());
        Socket { family: 6, laddr, raddr, ifindex: Some(2), role, ..sample::SOCKET }
    }

    #[test]
    fn who_talks_to_none_has_one_end() {
        let of = |socket: &Socket<'_>| {
            let mut out = Vec::new();
            let columns = whole(&mut out, socket);
            (String::from_utf8_lossy(&out).into_owned(), columns)
        };
        let udp = Socket { rport: None, ..socket(Role::Unknown, "::", "") };
        assert_eq!(of(&udp), ("[::]:40000".to_owned(), 10));
        // A number of a namespace.
        assert_eq!(of(&Socket { laddr: None, lport: None, ..udp }), ("-".to_owned(), 1));
        assert_eq!(of(&Socket { role: Role::Client, ..udp }).0, "[::]:40000 → *:*", "the peer is unknown");
    }

    #[test]
    fn whole_ends() {
        for (role, laddr, raddr, text) in [
            (Role::Client, "10.0.0.1", "10.0.0.5", "10.0.0.1:40000 → 10.0.0.5:443"),
            (Role::Server, "10.0.0.1", "10.0.0.5", "10.0.0.1:40000 ← 10.0.0.5:443"),
            (Role::Unknown, "10.0.0.1", "10.0.0.5", "10.0.0.1:40000 - 10.0.0.5:443"),
            (Role::Listener, "::", "", "[::]:40000"),
            (Role::Client, "", "fe80::1", "*:40000 → [fe80::1%2]:443"),
        ] {
            let mut out = Vec::new();
            let columns = whole(&mut out, &socket(role, laddr, raddr));
            assert_eq!((out.as_slice(), columns), (text.as_bytes(), text.chars().count()));
        }
        for (v6only, text) in [(None, "[::]:40000"), (Some(true), "[::]:40000"), (Some(false), "*:40000")] {
            let listener = Socket { v6only, ..socket(Role::Listener, "::", "") };
            let (mut out, mut cut) = (Vec::new(), String::new());
            whole(&mut out, &listener);
            short(&mut cut, &listener, 20);
            assert_eq!((out.as_slice(), &*cut), (text.as_bytes(), text));
        }
    }

    #[test]
    fn ports_survive_any_cut() {
        let long = "2001:db8:1234:5678:9abc:def0:1234:5678";
        for (role, columns, text) in [
            (Role::Client, 100, ":40000 → [2001:db8:1234:5678:9abc:def0:1234:5678]:443"),
            (Role::Client, 32, ":40000 → [2001:db8…234:5678]:443"),
            (Role::Server, 25, ":40000 ← [2001:…5678]:443"),
            (Role::Client, 0, ":40000 → [20…78]:443"),
            (Role::Listener, 20, "[2001:d…:5678]:40000"),
        ] {
            let mut out = String::new();
            short(&mut out, &socket(role, long, long), columns);
            assert_eq!(out, text);
        }
        for columns in 22..60 {
            let mut out = String::new();
            short(&mut out, &socket(Role::Client, long, long), columns);
            assert!(out.starts_with(":40000 → [") && out.ends_with("]:443"), "{out}");
            assert!(super::super::escape::width(&out) <= columns, "{out}");
        }
    }
}
