//! What is left of a look when the drops are subtracted: by socket where there is no doubt which.

use super::told::Told;
use crate::{
    discards::{
        Look, SocketLook,
        counter::{Counter, Group, LISTEN_DROPS, OVERFLOWS, by_name},
    },
    stream,
};

/// A count that is to be told, of a socket or of a namespace.
#[derive(Debug)]
pub struct Part<'l> {
    /// Of which counter.
    pub counter: &'static Counter,
    /// How much.
    pub count: u64,
    /// `None`: of the namespace.
    pub socket: Option<&'l SocketLook>,
    /// Where the kernel counts by device.
    pub device: Option<&'l str>,
}

/// What of a counter no drop has told.
struct Rest {
    counter: &'static Counter,
    count: u64,
}

/// A socket, and what it has thrown away that no drop has told and no counter was given.
struct Thrown<'l> {
    socket: &'l SocketLook,
    count: u64,
}

/// See the module.
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

/// Listeners: of all that they throw away what has a counter of its own is one part.
fn listening<'l>(told: &mut Told, look: &'l Look, left: &mut [Thrown<'l>], parts: &mut Vec<Part<'l>>) {
    let delta = |name: &str| {
        look.moved
            .iter()
            .find(|moved| moved.counter.name == name && moved.device.is_none())
            .map_or(0, |moved| moved.now.saturating_sub(moved.before))
    };
    // Where several have, those first whose queue is full.
    left.sort_by_key(|Thrown { socket, count }| {
        (socket.queue.is_none_or(|(waiting, most)| waiting <= most), u64::MAX - count)
    });
    let (overflows, cookies_off) = (delta(OVERFLOWS), delta("TcpExtTCPReqQFullDrop"));
    let rest = delta(LISTEN_DROPS).saturating_sub(overflows + cookies_off);
    let several = left.len() > 1;
    let counters = if several && cookies_off + rest > 0 {
        // Which listener threw away how many of each kind only their sum tells.
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

/// UDP sockets: one of IPv6 may take datagrams of IPv4, which only the counter of IPv4 counts.
fn datagram_sockets<'l>(told: &mut Told, look: &'l Look, left: &mut [Thrown<'l>], parts: &mut Vec<Part<'l>>) {
    left.sort_by_key(|thrown| u64::MAX - thrown.count);
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    // First all that drops have told: the account of a socket has both families in it.
    for moved in &look.moved {
        let family = match moved.counter.group {
            Group::Udp => 4,
            Group::Udp6 => 6,
            _ => continue,
        };
        let (counter, count) = (moved.counter, moved.now.saturating_sub(moved.before));
        // Nothing that was not sent is in `sk_drops`.
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
    // Then those of one family alone, whose account is of that counter.
    for (rests, family) in [(&mut v4, 4), (&mut v6, 6)] {
        for rest in rests {
            let only = |socket: &SocketLook| takes(socket, family) && !takes(socket, 10 - family);
            rest.count = share_some(rest, left, only, parts);
        }
    }
    // What several sockets that take both have thrown away of which family only the sum tells.
    let both = |socket: &SocketLook| takes(socket, 4) && takes(socket, 6);
    let several = left.iter().filter(|thrown| thrown.count > 0 && both(thrown.socket)).count() > 1;
    let mixed = several && [&v4, &v6].iter().all(|rests| rests.iter().any(|rest| rest.count > 0));
    for rest in v4.into_iter().chain(v6) {
        share(rest, left, |socket| both(socket) && !mixed, parts);
    }
}

/// Whether datagrams of this family may come to a socket.
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

/// What of `count` no drop has told. What drops have told of a socket is subtracted from its own account, too.
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
    // Those of a socket that is not here, or of none that is known.
    rest -= told.take(look, subtracted, None, None, rest);
    Rest { counter, count: rest }
}

/// Gives the rest of a counter to the sockets that have thrown something away; what no socket accounts for is the
/// namespace's.
fn share<'l>(mut rest: Rest, left: &mut [Thrown<'l>], whose: impl Fn(&SocketLook) -> bool, parts: &mut Vec<Part<'l>>) {
    rest.count = share_some(&rest, left, whose, parts);
    parts.push(Part { counter: rest.counter, count: rest.count, socket: None, device: None });
}

/// The same; what no socket accounts for is given back.
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
