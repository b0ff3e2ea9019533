//! The filters that the kernel side can decide; cheapest test first.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    helpers::generated::bpf_get_current_ancestor_cgroup_id,
    macros::map,
    maps::{Array, HashMap, LpmTrie, lpm_trie::Key},
};
use tracer_common::{
    packet::{Flow, HAS_PORTS},
    record::{RecordRole, Tuple, UID_UNKNOWN},
    settings::{
        FILTER_ADDR, FILTER_CGROUP, FILTER_FAMILY, FILTER_LADDR, FILTER_LPORT, FILTER_NETNS, FILTER_NO_LOOPBACK,
        FILTER_PID, FILTER_PORT, FILTER_RADDR, FILTER_ROLE, FILTER_RPORT, FILTER_UID, FILTERS_OF_PROCESS, PORT_ANY,
        PORT_LOCAL, PORT_REMOTE, PREFIX_ANY, PREFIX_LOCAL, PREFIX_REMOTE,
    },
};

use crate::{globals::filters, setting, task};

/// Processes of `FILTER_PID`.
#[map]
pub static PIDS: HashMap<u32, u8> = HashMap::with_max_entries(1 << 16, BPF_F_NO_PREALLOC);

/// Users of `FILTER_UID`.
#[map]
pub static UIDS: HashMap<u32, u8> = HashMap::with_max_entries(256, 0);

/// Network namespaces of `FILTER_NETNS`.
#[map]
pub static NETNS: HashMap<u32, u8> = HashMap::with_max_entries(256, 0);

/// Ports of `FILTER_*PORT`: sixteen ports per entry, four bits each.
#[map]
pub static PORTS: Array<u64> = Array::with_max_entries(4096, 0);

/// IPv4 prefixes of `FILTER_*ADDR`.
#[map]
pub static PREFIXES4: LpmTrie<u32, u32> = LpmTrie::with_max_entries(1024, BPF_F_NO_PREALLOC);

/// IPv6 prefixes of `FILTER_*ADDR`.
#[map]
pub static PREFIXES6: LpmTrie<[u32; 4], u32> = LpmTrie::with_max_entries(1024, BPF_F_NO_PREALLOC);

const FILTERS_OF_PORTS: u32 = FILTER_PORT | FILTER_LPORT | FILTER_RPORT;
const FILTERS_OF_ADDRESSES: u32 = FILTER_ADDR | FILTER_LADDR | FILTER_RADDR;

/// Whether the filters pass sockets that the current task opens. Only in process context.
#[inline(always)]
pub fn process_passes() -> bool {
    if !filters(FILTERS_OF_PROCESS) {
        return true;
    }
    if filters(FILTER_PID) && PIDS.get_ptr(task::current_pid()).is_none() {
        return false;
    }
    if filters(FILTER_UID) {
        let uid = task::effective_uid();
        // The agent decides about an unknown uid.
        if uid != UID_UNKNOWN && UIDS.get_ptr(uid).is_none() {
            return false;
        }
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

/// Whether any filter looks beyond the process: if not, [`socket_passes`] needs no tuple.
#[inline(always)]
pub fn judges_sockets() -> bool {
    setting!(filters) & !FILTERS_OF_PROCESS != 0
}

/// Whether the filters pass a socket with this role and tuple.
#[inline(always)]
pub fn socket_passes(role: RecordRole, tuple: &Tuple) -> bool {
    (!filters(FILTER_ROLE) || role as u32 == setting!(role))
        // An IPv6 listener may accept IPv4, too: the agent decides.
        && (!filters(FILTER_FAMILY)
            || u32::from(tuple.family) == setting!(family)
            || role as u32 == RecordRole::Listener as u32 && tuple.family == 6)
        && ends_pass(tuple)
}

/// Whether the filters of namespaces, ports and addresses pass this tuple.
#[inline(always)]
pub fn ends_pass(tuple: &Tuple) -> bool {
    !judges_sockets() || ends_pass_filters(tuple) != 0
}

/// A function of its own: inlined at every use, it made up most of every program.
#[inline(never)]
fn ends_pass_filters(tuple: &Tuple) -> u32 {
    u32::from(netns_passes(tuple.netns) && ports_pass(tuple) && addresses_pass(tuple))
}

/// Whether [`flow_passes`] has a filter to apply.
#[inline(always)]
pub fn judges_flows() -> bool {
    filters(FILTERS_OF_PORTS | FILTERS_OF_ADDRESSES)
}

/// Whether the filters pass a packet known by its headers alone. The agent finds its local end later: here either end
/// may be the local one. (`--raddr !A` passes nothing from A to A, and nothing to a listener, which has no remote end.)
#[inline(always)]
pub fn flow_passes(flow: &Flow) -> bool {
    if filters(FILTERS_OF_PORTS) && flow.flags & HAS_PORTS != 0 {
        let bits = port_bits(flow.sport) | port_bits(flow.dport);
        if !ports_allow(bits, bits) {
            return false;
        }
    }
    if filters(FILTERS_OF_ADDRESSES) && flow.family != 0 {
        let bits = prefix_bits(flow.family, flow.src) | prefix_bits(flow.family, flow.dst);
        return addresses_allow(bits, bits);
    }
    true
}

/// Whether the filters pass this network namespace; 0 is an unknown one.
#[inline(always)]
pub fn netns_passes(netns: u32) -> bool {
    !filters(FILTER_NETNS) || NETNS.get_ptr(netns).is_some()
}

#[inline(always)]
fn port_bits(port: u16) -> u8 {
    // The socket has no port yet: the agent decides once it has one.
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
    !filters(FILTERS_OF_PORTS) || ports_allow(port_bits(tuple.lport), port_bits(tuple.rport))
}

#[inline(always)]
fn ports_allow(local: u8, remote: u8) -> bool {
    (!filters(FILTER_PORT) || (local | remote) & PORT_ANY != 0)
        && (!filters(FILTER_LPORT) || local & PORT_LOCAL != 0)
        && (!filters(FILTER_RPORT) || remote & PORT_REMOTE != 0)
}

/// Returns the IPv4 address, also from a v4-mapped one, which the agent shows as IPv4.
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
    !filters(FILTERS_OF_ADDRESSES)
        || addresses_allow(prefix_bits(tuple.family, tuple.laddr), prefix_bits(tuple.family, tuple.raddr))
}

#[inline(always)]
fn addresses_allow(local: u32, remote: u32) -> bool {
    (!filters(FILTER_ADDR) || (local | remote) & PREFIX_ANY != 0)
        && (!filters(FILTER_LADDR) || local & PREFIX_LOCAL != 0)
        && (!filters(FILTER_RADDR) || remote & PREFIX_REMOTE != 0)
}
