//! bind() that fails.

use tracer_common::{
    audit::Outcome,
    record::{RecordKind, RecordRole},
};

use super::{
    UNKNOWN, begin,
    connect::{UserAddress, destination, user_address},
    filtered, inode, send, set_opener,
};
use crate::{
    fd, filter,
    identity::{self, Site},
    lane::Lane,
    memory, offset,
    sock::{AF_INET, AF_INET6, IPPROTO_TCP, Raw, Sock},
    started::started,
};

const IPPROTO_UDP: u16 = 17;

/// Reports a bind() of `fd` to the address at `place` in the caller's memory if its `result` is an error.
#[inline(always)]
pub fn bind_returned(fd: u32, place: u64, result: i32) -> Outcome {
    if result >= 0 || !started() {
        return Outcome::Aside;
    }
    match fd::socket(fd) {
        Some(socket) => failed(socket.tcp(), place, -result, Site::Bind),
        None => Outcome::Aside,
    }
}

/// Reports a 32-bit bind() of the socket at `sk` that has failed.
#[inline(always)]
pub fn bind_failed_in_compat(sk: u64, place: u64, errno: i32) -> Outcome {
    if started() { failed(sk, place, errno, Site::Compat) } else { Outcome::Aside }
}

/// See [`super::accept_failed`].
#[inline(never)]
fn failed(sk: u64, place: u64, errno: i32, site: Site) -> Outcome {
    let family = Raw(sk).family();
    let protocol: u16 = memory::read(sk, offset!(sk_protocol));
    if (family != AF_INET && family != AF_INET6) || (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) {
        return Outcome::Aside;
    }
    if !filter::process_passes() {
        return filtered();
    }
    let mut tuple = Raw(sk).tuple();
    // The address asked for, read as connect() reads its destination.
    (tuple.laddr, tuple.lport) = match user_address(place) {
        UserAddress::Internet(addr) => {
            let asked = destination(sk, &addr);
            (asked.raddr, asked.rport)
        }
        _ => ([0; 4], 0),
    };
    (tuple.raddr, tuple.rport) = ([0; 4], 0);
    if !filter::socket_passes(RecordRole::Unknown, &tuple) {
        return filtered();
    }
    let mut state = UNKNOWN;
    begin(&mut state, Raw(sk), identity::next(site, Lane::First), RecordRole::Unknown);
    set_opener(&mut state);
    // The process may try again with another socket and then own the port itself.
    state.parent = inode(Raw(sk)) as u32;
    send(RecordKind::BindFailed, state.started_ns, &state, &tuple, 0, 0, errno, u64::from(protocol))
}
