//! What can be decided in the kernel is decided here; cheapest test first.

use aya_ebpf::{
    helpers::{bpf_get_current_uid_gid, generated::bpf_get_current_ancestor_cgroup_id},
    maps::lpm_trie::Key,
};
use tracer_common::{
    record::{RecordRole, Tuple},
    settings::{
        FILTER_ADDR, FILTER_CGROUP, FILTER_FAMILY, FILTER_LADDR, FILTER_LPORT, FILTER_NETNS, FILTER_NO_LOOPBACK,
        FILTER_PID, FILTER_PORT, FILTER_RADDR, FILTER_ROLE, FILTER_RPORT, FILTER_UID, FILTERS_OF_PROCESS, PORT_ANY,
        PORT_LOCAL, PORT_REMOTE, PREFIX_ANY, PREFIX_LOCAL, PREFIX_REMOTE,
    },
};

use crate::{
    globals::filters,
    maps::{NETNS, PIDS, PORTS, PREFIXES4, PREFIXES6, UIDS},
    setting, task,
};

/// Whether the current task may open sockets that we show. Only in process context.
#[inline(always)]
pub fn process_passes() -> bool {
    if !filters(FILTERS_OF_PROCESS) {
        return true;
    }
    if filters(FILTER_PID) && PIDS.get_ptr(task::current_pid()).is_none() {
        return false;
    }
    if filters(FILTER_UID) && UIDS.get_ptr(bpf_get_current_uid_gid() as u32).is_none() {
        return false;
    }
    if filters(FILTER_CGROUP) {
        // SAFETY: permitted in all program types used here.
        let ancestor = unsafe { bpf_get_current_ancestor_cgroup_id(setting!(cgroup_level) as i32) };
        if ancestor != setting!(cgroup_id) {
            return false;
        }
    }
    true
}

/// Whether anything but the process decides: if not, the tuple need not be read for [`socket_passes`].
#[inline(always)]
pub fn judges_sockets() -> bool {
    setting!(filters) & !FILTERS_OF_PROCESS != 0
}

/// Whether a socket of this role and tuple may be shown.
#[inline(always)]
pub fn socket_passes(role: RecordRole, tuple: &Tuple) -> bool {
    !judges_sockets() || socket_passes_filters(role as u32, tuple) != 0
}

/// A function of its own: inlined wherever a socket is judged, it was most of every program.
#[inline(never)]
fn socket_passes_filters(role: u32, tuple: &Tuple) -> u32 {
    if filters(FILTER_ROLE) && role != setting!(role) {
        return 0;
    }
    if filters(FILTER_FAMILY) && u32::from(tuple.family) != setting!(family) {
        return 0;
    }
    if !netns_passes(tuple.netns) {
        return 0;
    }
    u32::from(ports_pass(tuple) && addresses_pass(tuple))
}

/// Whether what belongs to this network namespace may be shown; 0 is one that is not known.
#[inline(always)]
pub fn netns_passes(netns: u32) -> bool {
    !filters(FILTER_NETNS) || NETNS.get_ptr(netns).is_some()
}

#[inline(always)]
fn port_bits(port: u16) -> u8 {
    // No port is bound yet: the agent decides when one is.
    if port == 0 {
        return PORT_ANY | PORT_LOCAL | PORT_REMOTE;
    }
    match PORTS.get(u32::from(port >> 4)) {
        Some(entry) => (entry >> ((port & 15) * 4)) as u8 & 15,
        None => 0,
    }
}

#[inline(always)]
fn ports_pass(tuple: &Tuple) -> bool {
    if !filters(FILTER_PORT | FILTER_LPORT | FILTER_RPORT) {
        return true;
    }
    let (local, remote) = (port_bits(tuple.lport), port_bits(tuple.rport));
    (!filters(FILTER_PORT) || (local | remote) & PORT_ANY != 0)
        && (!filters(FILTER_LPORT) || local & PORT_LOCAL != 0)
        && (!filters(FILTER_RPORT) || remote & PORT_REMOTE != 0)
}

/// The IPv4 address; a v4-mapped address counts as the one that it carries, as it is shown.
#[inline(always)]
fn ipv4(family: u8, [first, second, third, last]: [u32; 4]) -> Option<u32> {
    if family == 4 {
        return Some(first);
    }
    if first == 0 && second == 0 && third == 0xffff_u32.to_be() { Some(last) } else { None }
}

#[inline(always)]
fn prefix_bits(family: u8, addr: [u32; 4]) -> u32 {
    match ipv4(family, addr) {
        Some(v4) => PREFIXES4.get(Key::new(32, v4)).copied().unwrap_or(0),
        None => PREFIXES6.get(Key::new(128, addr)).copied().unwrap_or(0),
    }
}

#[inline(always)]
fn is_loopback(family: u8, addr: [u32; 4]) -> bool {
    match ipv4(family, addr) {
        Some(v4) => u32::from_be(v4) >> 24 == 127,
        None => addr[0] == 0 && addr[1] == 0 && addr[2] == 0 && addr[3] == 1_u32.to_be(),
    }
}

#[inline(always)]
fn addresses_pass(tuple: &Tuple) -> bool {
    if filters(FILTER_NO_LOOPBACK) && is_loopback(tuple.family, tuple.raddr) {
        return false;
    }
    if !filters(FILTER_ADDR | FILTER_LADDR | FILTER_RADDR) {
        return true;
    }
    let local = prefix_bits(tuple.family, tuple.laddr);
    let remote = prefix_bits(tuple.family, tuple.raddr);
    (!filters(FILTER_ADDR) || (local | remote) & PREFIX_ANY != 0)
        && (!filters(FILTER_LADDR) || local & PREFIX_LOCAL != 0)
        && (!filters(FILTER_RADDR) || remote & PREFIX_REMOTE != 0)
}
