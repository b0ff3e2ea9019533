//! The stream as JSON, one object a line: schema version 1.
//!
//! The code writes key by key into one reused buffer, because it runs for every event.

mod close;
pub(super) mod discard;
pub(super) mod packets;
mod process;

use std::io::{self, Write};
use std::net::{IpAddr, Ipv6Addr};

use crate::stream::{ConnId, Event, Finding, Kind, Owner, Sink, Socket};

use super::clock::{Rfc3339, WallClock};
use super::escape;
use super::number::{append as number, append_ipv4};
use super::output::Output;
use super::owners::Owners;
use super::summary::Summary;
use crate::explain::numbers;

/// Takes the stream and writes JSON.
#[derive(Debug)]
pub struct JsonSink<W> {
    output: Output<W>,
    clock: WallClock,
    time: Rfc3339,
    owners: Owners<Vec<u8>>,
}

impl<W: Write> JsonSink<W> {
    /// Makes a sink that writes to `to`.
    pub fn new(to: W, clock: WallClock) -> Self {
        Self { output: Output::new(to), clock, time: Rfc3339::default(), owners: Owners::default() }
    }

    /// Writes the gathered lines; the caller flushes after each batch of events.
    pub fn flush(&mut self) {
        self.output.flush();
    }

    /// Returns the error that ended the writing.
    pub fn error(&self) -> Option<&io::Error> {
        self.output.error()
    }

    /// Returns the number of printed events.
    pub fn printed(&self) -> u64 {
        self.output.printed()
    }

    /// Returns the writer.
    pub fn into_inner(self) -> W {
        self.output.into_inner()
    }

    /// Writes the summary, the last line. `boot_ns`: `CLOCK_BOOTTIME` at the end of the trace.
    pub fn summary(&mut self, boot_ns: u64, summary: &Summary) {
        let out = self.output.line();
        head(out, &mut self.time, self.clock, "summary", boot_ns);
        summary.write_json(out);
        out.extend_from_slice(b"}\n");
        self.output.flush();
    }
}

impl<W: Write> Sink for JsonSink<W> {
    fn event(&mut self, event: &Event<'_>) {
        let out = self.output.line();
        head(out, &mut self.time, self.clock, event.kind.name(), event.boot_ns);
        if let Some(socket) = &event.socket {
            write_socket(out, socket, &mut self.owners);
        }
        write_kind(out, &event.kind);
        out.extend_from_slice(b"}\n");
        self.output.line_done();
    }
}

pub(super) fn head(out: &mut Vec<u8>, time: &mut Rfc3339, clock: WallClock, event: &str, boot_ns: u64) {
    out.extend_from_slice(b"{\"v\":1,\"event\":\"");
    out.extend_from_slice(event.as_bytes());
    out.extend_from_slice(b"\",\"time\":\"");
    time.write(out, clock.wall_ns(boot_ns));
    out.extend_from_slice(b"\",\"boot_ns\":");
    number(out, boot_ns);
}

pub(super) fn write_socket(out: &mut Vec<u8>, socket: &Socket<'_>, owners: &mut Owners<Vec<u8>>) {
    if socket.conn == ConnId::NONE {
        out.extend_from_slice(b",\"conn\":null,\"proto\":\"");
    } else {
        out.extend_from_slice(b",\"conn\":\"");
        number(out, socket.conn.0);
        out.extend_from_slice(b"\",\"proto\":\"");
    }
    out.extend_from_slice(socket.proto.as_bytes());
    out.extend_from_slice(b"\",\"family\":");
    if socket.family == 0 {
        out.extend_from_slice(b"null");
    } else {
        number(out, socket.family.into());
    }
    if socket.v4mapped {
        out.extend_from_slice(b",\"v4mapped\":true");
    }
    if let Some(v6only) = socket.v6only {
        out.extend_from_slice(if v6only { b",\"v6only\":true" } else { b",\"v6only\":false" });
    }
    if socket.mptcp {
        out.extend_from_slice(b",\"mptcp\":true");
    }
    address(out, b",\"laddr\":", socket.laddr);
    optional(out, b",\"lport\":", socket.lport);
    address(out, b",\"raddr\":", socket.raddr);
    optional(out, b",\"rport\":", socket.rport);
    if socket.ifindex.is_some() {
        optional(out, b",\"ifindex\":", socket.ifindex);
    }
    write_ownership(out, socket, owners);
}

/// Appends namespace, role, owner and holders, which sockets of every family have.
pub(super) fn write_ownership(out: &mut Vec<u8>, socket: &Socket<'_>, owners: &mut Owners<Vec<u8>>) {
    optional(out, b",\"netns\":", socket.netns);
    out.extend_from_slice(b",\"role\":\"");
    out.extend_from_slice(socket.role.name().as_bytes());
    out.extend_from_slice(b"\",\"owner\":");
    match socket.owner {
        Some(owner) => out.extend_from_slice(owners.written(owner, || {
            let mut json = Vec::new();
            write_owner(&mut json, owner);
            json
        })),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"owner_source\":\"");
    out.extend_from_slice(socket.owner_source.name().as_bytes());
    out.push(b'"');
    if !socket.holders.is_empty() {
        out.extend_from_slice(b",\"holders\":");
        list(out, socket.holders, |out, pid| number(out, (*pid).into()));
    }
}

pub(super) fn write_owner(out: &mut Vec<u8>, owner: &Owner) {
    let facts = &*owner.facts;
    out.extend_from_slice(b"{\"pid\":");
    number(out, owner.pid.into());
    out.extend_from_slice(b",\"tid\":");
    number(out, owner.tid.into());
    out.extend_from_slice(b",\"comm\":");
    string(out, &owner.comm);
    if let Some(thread) = &owner.thread {
        out.extend_from_slice(b",\"thread\":");
        string(out, thread);
    }
    out.extend_from_slice(b",\"exe\":");
    optional_string(out, facts.exe.as_deref());
    optional(out, b",\"uid\":", owner.uid);
    process::write_place(out, facts);
    optional(out, b",\"start_ns\":", owner.start_ns);
    if facts.late {
        out.extend_from_slice(b",\"facts\":\"timeout\"");
    }
    out.push(b'}');
}

/// Appends the identity of an owner whose other keys appear elsewhere.
fn write_short_owner(out: &mut Vec<u8>, owner: &Owner) {
    out.extend_from_slice(b"{\"pid\":");
    number(out, owner.pid.into());
    out.extend_from_slice(b",\"comm\":");
    string(out, &owner.comm);
    out.push(b'}');
}

fn write_kind(out: &mut Vec<u8>, kind: &Kind<'_>) {
    match *kind {
        Kind::Listen { backlog } => optional(out, b",\"backlog\":", backlog),
        Kind::Connect { errno: None } => {}
        Kind::Connect { errno: Some(errno) } | Kind::Error { errno, accepts: None } => write_errno(out, Some(errno)),
        Kind::Error { errno, accepts: Some(times) } => {
            write_errno(out, Some(errno));
            out.extend_from_slice(b",\"call\":\"accept\",\"count\":");
            number(out, times);
        }
        Kind::Bind { errno, held_by } => {
            write_errno(out, Some(errno));
            out.extend_from_slice(b",\"held_by\":");
            match held_by {
                Some(owner) => write_owner(out, owner),
                None => out.extend_from_slice(b"null"),
            }
        }
        Kind::Established { connect_us } => optional(out, b",\"connect_us\":", connect_us),
        Kind::Accept { accept_wait_us } => optional(out, b",\"accept_wait_us\":", accept_wait_us),
        Kind::Open { state } => name(out, b",\"state\":\"", state.name()),
        Kind::State { old, new, state_us } => {
            name(out, b",\"old\":\"", old.name());
            name(out, b",\"new\":\"", new.name());
            optional(out, b",\"state_us\":", state_us);
        }
        Kind::Close(close) => close::write(out, close),
        Kind::Retransmit { state, what, seq } => packets::write_retransmit(out, state, what, seq),
        Kind::Reset { received, reason } => packets::write_reset(out, received, reason),
        Kind::Drop(drop) => packets::write_drop(out, drop),
        Kind::Discard(discard) => discard::write(out, discard),
        Kind::Finding(finding) => {
            out.push(b',');
            write_finding(out, finding);
        }
        Kind::Process(owner) => process::write(out, owner),
        Kind::Lost { class, count } => {
            name(out, b",\"class\":\"", class);
            out.extend_from_slice(b",\"count\":");
            number(out, count);
        }
    }
}

/// Appends the keys of a finding, which the summary repeats.
pub(super) fn write_finding(out: &mut Vec<u8>, finding: &Finding) {
    name(out, b"\"name\":\"", finding.name);
    out.extend_from_slice(b",\"text\":");
    string(out, &finding.text);
    out.extend_from_slice(b",\"count\":");
    number(out, finding.count);
    out.extend_from_slice(b",\"look\":");
    list(out, &finding.look, |out, command| string(out, command));
    out.extend_from_slice(b",\"evidence\":");
    list(out, &finding.evidence, |out, evidence| {
        name(out, b"{\"event\":\"", evidence.event);
        out.extend_from_slice(b",\"conn\":");
        if evidence.conn == ConnId::NONE {
            out.extend_from_slice(b"null");
        } else {
            out.push(b'"');
            number(out, evidence.conn.0);
            out.push(b'"');
        }
        out.extend_from_slice(b",\"boot_ns\":");
        number(out, evidence.boot_ns);
        out.push(b'}');
    });
}

pub(super) fn write_errno(out: &mut Vec<u8>, errno: Option<i32>) {
    out.extend_from_slice(b",\"errno\":");
    let Some(errno) = errno else { return out.extend_from_slice(b"null") };
    out.push(b'"');
    match numbers::name(errno) {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => {
            out.push(b'E');
            number(out, errno.unsigned_abs().into());
        }
    }
    out.push(b'"');
}

/// Appends a value that needs no escapes; `key` ends in the opening quote.
pub(super) fn name(out: &mut Vec<u8>, key: &[u8], value: &str) {
    out.extend_from_slice(key);
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

pub(super) fn optional<T: Into<u64>>(out: &mut Vec<u8>, key: &[u8], value: Option<T>) {
    out.extend_from_slice(key);
    match value {
        Some(value) => number(out, value.into()),
        None => out.extend_from_slice(b"null"),
    }
}

pub(super) fn optional_string(out: &mut Vec<u8>, value: Option<&str>) {
    match value {
        Some(value) => string(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

fn list<T>(out: &mut Vec<u8>, values: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (n, value) in values.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write(out, value);
    }
    out.push(b']');
}

pub(super) fn address(out: &mut Vec<u8>, key: &[u8], addr: Option<IpAddr>) {
    out.extend_from_slice(key);
    let Some(addr) = addr else { return out.extend_from_slice(b"null") };
    out.push(b'"');
    match addr {
        IpAddr::V4(addr) => append_ipv4(out, addr),
        IpAddr::V6(addr) => ipv6(out, addr),
    }
    out.push(b'"');
}

/// Appends an address in the form of RFC 5952. The standard library takes three times as long,
/// because it formats into a buffer first, and events have two addresses.
fn ipv6(out: &mut Vec<u8>, addr: Ipv6Addr) {
    let groups = addr.segments();
    if matches!(groups, [0, 0, 0, 0, 0, 0xffff, ..]) {
        // Writing to a Vec does not fail.
        return drop(write!(out, "{addr}"));
    }
    // RFC 5952 leaves out the first of the longest runs of two zeros or more.
    let (mut begin, mut length) = (0, 1);
    let mut run = 0;
    for (n, group) in groups.iter().enumerate() {
        run = if *group == 0 { run + 1 } else { 0 };
        if run > length {
            (begin, length) = (n + 1 - run, run);
        }
    }
    let (head, tail) = if length > 1 { (&groups[..begin], &groups[begin + length..]) } else { (&groups[..], &[][..]) };
    hex_groups(out, head);
    if length > 1 {
        out.extend_from_slice(b"::");
    }
    hex_groups(out, tail);
}

fn hex_groups(out: &mut Vec<u8>, groups: &[u16]) {
    for (n, group) in groups.iter().enumerate() {
        if n > 0 {
            out.push(b':');
        }
        let digits = (u32::from(*group) | 1).ilog2() / 4 + 1;
        for digit in (0..digits).rev() {
            out.push(b"0123456789abcdef"[usize::from(group >> (4 * digit) & 15)]);
        }
    }
}

/// Bytes that stand for themselves in a string.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        plain[byte as usize] = byte != b'"' && byte != b'\\';
        byte += 1;
    }
    plain
};

/// Appends a string in quotes. Beyond JSON's rules it escapes everything that a terminal would obey:
/// the value stays the same for a program, and a person may be looking.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text;
    // Most strings are plain ASCII as a whole.
    while let Some(at) = rest.bytes().position(|byte| !PLAIN[usize::from(byte)]) {
        let (plain, other) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let mut chars = other.chars();
        if let Some(c) = chars.next() {
            escaped(out, c);
        }
        rest = chars.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

/// Appends the JSON text of another writer, and escapes everything that a terminal would obey: such
/// characters occur only inside strings.
pub(super) fn plain(out: &mut Vec<u8>, json: &str) {
    for c in json.chars() {
        match c {
            '"' | '\\' => out.push(c as u8),
            c => escaped(out, c),
        }
    }
}

fn escaped(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        c if escape::is_plain(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        c => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                drop(write!(out, "\\u{unit:04x}"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
