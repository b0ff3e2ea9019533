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

/// Whether a socket of this role and tuple may be shown.
#[inline(always)]
pub fn socket_passes(role: RecordRole, tuple: &Tuple) -> bool {
    if setting!(filters) & !FILTERS_OF_PROCESS == 0 {
        return true;
    }
    if filters(FILTER_ROLE) && role as u32 != setting!(role) {
        return false;
    }
    if filters(FILTER_FAMILY) && u32::from(tuple.family) != setting!(family) {
        return false;
    }
    if filters(FILTER_NETNS) && NETNS.get_ptr(tuple.netns).is_none() {
        return false;
    }
    ports_pass(tuple) && addresses_pass(tuple)
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

/// A v4-mapped address counts as the IPv4 address that it carries, as it is shown.
#[inline(always)]
fn mapped(addr: &[u8; 16]) -> Option<[u8; 4]> {
    let [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] = *addr else { return None };
    Some([a, b, c, d])
}

#[inline(always)]
fn prefix_bits(family: u8, addr: &[u8; 16]) -> u32 {
    let v4 = if family == 4 { Some([addr[0], addr[1], addr[2], addr[3]]) } else { mapped(addr) };
    match v4 {
        Some(v4) => PREFIXES4.get(Key::new(32, v4)).copied().unwrap_or(0),
        None => PREFIXES6.get(Key::new(128, *addr)).copied().unwrap_or(0),
    }
}

#[inline(always)]
fn is_loopback(family: u8, addr: &[u8; 16]) -> bool {
    match if family == 4 { Some([addr[0], addr[1], addr[2], addr[3]]) } else { mapped(addr) } {
        Some([first, ..]) => first == 127,
        None => matches!(addr, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    }
}

#[inline(always)]
fn addresses_pass(tuple: &Tuple) -> bool {
    if filters(FILTER_NO_LOOPBACK) && is_loopback(tuple.family, &tuple.raddr) {
        return false;
    }
    if !filters(FILTER_ADDR | FILTER_LADDR | FILTER_RADDR) {
        return true;
    }
    let local = prefix_bits(tuple.family, &tuple.laddr);
    let remote = prefix_bits(tuple.family, &tuple.raddr);
    (!filters(FILTER_ADDR) || (local | remote) & PREFIX_ANY != 0)
        && (!filters(FILTER_LADDR) || local & PREFIX_LOCAL != 0)
        && (!filters(FILTER_RADDR) || remote & PREFIX_REMOTE != 0)
}
