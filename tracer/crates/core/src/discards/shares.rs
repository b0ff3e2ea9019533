//! Divides a look, less the drops, among sockets where the owner is certain.

use tracer_stream as stream;
use tracer_tables::discards::{
    Look, SocketLook,
    counter::{Counter, Group, LISTEN_DROPS, OVERFLOWS, by_name},
};

use super::told::Told;

/// A count to be emitted, of a socket or of a namespace.
#[derive(Debug)]
pub struct Part<'l> {
    /// The counter.
    pub counter: &'static Counter,
    /// The amount.
    pub count: u64,
    /// `None`: of the namespace.
    pub socket: Option<&'l SocketLook>,
    /// The device, where the kernel counts by device.
    pub device: Option<&'l str>,
}

/// The part of a counter that no drop accounts for.
struct Rest {
    counter: &'static Counter,
    count: u64,
}

/// A socket, and its discards that neither a drop nor a counter accounts for.
struct Thrown<'l> {
    socket: &'l SocketLook,
    count: u64,
}

/// Divides a look into its parts.
pub fn parts<'l>(told: &mut Told, look: &'l Look) -> Vec<Part<'l>> {
    let mut parts = Vec::new();
    let (mut listeners, mut datagrams): (Vec<Thrown<'_>>, Vec<Thrown<'_>>) = look
        .sockets
        .iter()
        .map(|socket| Thrown { socket, count: socket.now.wrapping_sub(socket.before).into() })
        .partition(|thrown| thrown.socket.listens);
    listening(told, look, &mut listeners, &mut parts);
    datagram_sockets(told, look, &mut datagrams, &mut parts);
    for moved in &look.moved {
        if matches!(moved.counter.group, Group::Listener | Group::Udp | Group::Udp6) {
            continue;
        }
        let (counter, count) = (moved.counter, moved.now.saturating_sub(moved.before));
        let device = moved.device.as_deref();
        let count = count - told.take(look, counter, None, device, count);
        parts.push(Part { counter, count, socket: None, device });
    }
    parts.retain(|part| part.count > 0);
    parts
}

/// Divides the counters of listeners: a discard with a counter of its own is one part of all that they discard.
fn listening<'l>(told: &mut Told, look: &'l Look, left: &mut [Thrown<'l>], parts: &mut Vec<Part<'l>>) {
    let delta = |name: &str| {
        look.moved
            .iter()
            .find(|moved| moved.counter.name == name && moved.device.is_none())
            .map_or(0, |moved| moved.now.saturating_sub(moved.before))
    };
    // Among several, those with a full queue come first.
    left.sort_by_key(|Thrown { socket, count }| {
        (socket.queue.is_none_or(|(waiting, most)| waiting <= most), u64::MAX - count)
    });
    let (overflows, cookies_off) = (delta(OVERFLOWS), delta("TcpExtTCPReqQFullDrop"));
    let rest = delta(LISTEN_DROPS).saturating_sub(overflows + cookies_off);
    let several = left.len() > 1;
    let counters = if several && cookies_off + rest > 0 {
        // Only the sum is known, not how many of each kind each listener discarded.
        vec![(LISTEN_DROPS, overflows + cookies_off + rest)]
    } else {
        vec![(OVERFLOWS, overflows), ("TcpExtTCPReqQFullDrop", cookies_off), (LISTEN_DROPS, rest)]
    };
    for (name, count) in counters {
        let Some(counter) = by_name(name).filter(|_| count > 0) else { continue };
        let subtracted = by_name(OVERFLOWS).filter(|_| name == LISTEN_DROPS && several).unwrap_or(counter);
        let rest = untold(told, look, counter, subtracted, count, left, |_| true);
        share(rest, left, |_| true, parts);
    }
}

/// Divides the counters of UDP sockets: one of IPv6 may take datagrams of IPv4, which only the counter of IPv4 counts.
fn datagram_sockets<'l>(told: &mut Told, look: &'l Look, left: &mut [Thrown<'l>], parts: &mut Vec<Part<'l>>) {
    left.sort_by_key(|thrown| u64::MAX - thrown.count);
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    // First all that drops account for: a socket's own count has both families in it.
    for moved in &look.moved {
        let family = match moved.counter.group {
            Group::Udp => 4,
            Group::Udp6 => 6,
            _ => continue,
        };
        let (counter, count) = (moved.counter, moved.now.saturating_sub(moved.before));
        // `sk_drops` has no failures to send.
        let received = !counter.name.contains("Sndbuf");
        let whose = |socket: &SocketLook| received && takes(socket, family);
        let rest = untold(told, look, counter, counter, count, left, whose);
        if !received {
            parts.push(Part { counter, count: rest.count, socket: None, device: None });
        } else if family == 6 {
            v6.push(rest);
        } else {
            v4.push(rest);
        }
    }
    // Then sockets of one family alone, whose count belongs to that counter.
    for (rests, family) in [(&mut v4, 4), (&mut v6, 6)] {
        for rest in rests {
            let only = |socket: &SocketLook| takes(socket, family) && !takes(socket, 10 - family);
            rest.count = share_some(rest, left, only, parts);
        }
    }
    // Of several sockets that take both families only the sum is known.
    let both = |socket: &SocketLook| takes(socket, 4) && takes(socket, 6);
    let several = left.iter().filter(|thrown| thrown.count > 0 && both(thrown.socket)).count() > 1;
    let mixed = several && [&v4, &v6].iter().all(|rests| rests.iter().any(|rest| rest.count > 0));
    for rest in v4.into_iter().chain(v6) {
        share(rest, left, |socket| both(socket) && !mixed, parts);
    }
}

/// Whether a socket may receive datagrams of this family.
fn takes(socket: &SocketLook, family: u8) -> bool {
    let tuple = &socket.tuple;
    if tuple.family == 4 {
        return family == 4;
    }
    match stream::address(6, tuple.laddr) {
        (_, true) => family == 4,
        (addr, false) => family == 6 || addr.is_unspecified(),
    }
}

/// The part of `count` that no drop accounts for. Subtracts a socket's drops from its own count, too.
fn untold(
    told: &mut Told,
    look: &Look,
    counter: &'static Counter,
    subtracted: &'static Counter,
    count: u64,
    left: &mut [Thrown<'_>],
    whose: impl Fn(&SocketLook) -> bool,
) -> Rest {
    let mut rest = count;
    for thrown in left.iter_mut().filter(|thrown| whose(thrown.socket)) {
        let most = rest.min(thrown.count);
        let known = told.take(look, subtracted, Some(thrown.socket.tuple.lport), None, most);
        thrown.count -= known;
        rest -= known;
    }
    // Drops of an absent or unknown socket.
    rest -= told.take(look, subtracted, None, None, rest);
    Rest { counter, count: rest }
}

/// Gives the rest of a counter to the sockets that discarded something; the namespace gets the remainder.
fn share<'l>(mut rest: Rest, left: &mut [Thrown<'l>], whose: impl Fn(&SocketLook) -> bool, parts: &mut Vec<Part<'l>>) {
    rest.count = share_some(&rest, left, whose, parts);
    parts.push(Part { counter: rest.counter, count: rest.count, socket: None, device: None });
}

/// The same; returns the remainder.
fn share_some<'l>(
    rest: &Rest,
    left: &mut [Thrown<'l>],
    whose: impl Fn(&SocketLook) -> bool,
    parts: &mut Vec<Part<'l>>,
) -> u64 {
    let mut count = rest.count;
    for thrown in left.iter_mut().filter(|thrown| whose(thrown.socket)) {
        let given = count.min(thrown.count);
        thrown.count -= given;
        count -= given;
        parts.push(Part { counter: rest.counter, count: given, socket: Some(thrown.socket), device: None });
    }
    count
}
