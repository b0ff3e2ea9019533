//! The values that the agent writes into the object's read-only data before it loads the object.
//!
//! The kernel freezes that section, so the verifier knows every value: an offset becomes a constant
//! and a branch on a disabled feature is never even verified.

pub use crate::offsets::{ABSENT, Offsets};

/// Only these processes (map `PIDS`).
pub const FILTER_PID: u32 = 1 << 0;
/// The kernel side adds children of a process in `PIDS` to it.
pub const FILTER_FOLLOW: u32 = 1 << 1;
/// Only these users (map `UIDS`).
pub const FILTER_UID: u32 = 1 << 2;
/// Only this cgroup (v2) and its descendants.
pub const FILTER_CGROUP: u32 = 1 << 3;
/// Only these network namespaces (map `NETNS`).
pub const FILTER_NETNS: u32 = 1 << 4;
/// Only this address family.
pub const FILTER_FAMILY: u32 = 1 << 5;
/// Only these ports (map `PORTS`: sixteen ports an entry, four bits each; bit [`PORT_ANY`]).
pub const FILTER_PORT: u32 = 1 << 6;
/// Only these local ports (map `PORTS`, bit [`PORT_LOCAL`]).
pub const FILTER_LPORT: u32 = 1 << 7;
/// Only these remote ports (map `PORTS`, bit [`PORT_REMOTE`]).
pub const FILTER_RPORT: u32 = 1 << 8;
/// Only these addresses, either side (maps `PREFIXES4`/`PREFIXES6`, bit [`PREFIX_ANY`]).
pub const FILTER_ADDR: u32 = 1 << 9;
/// Only these local addresses.
pub const FILTER_LADDR: u32 = 1 << 10;
/// Only these remote addresses.
pub const FILTER_RADDR: u32 = 1 << 11;
/// Only this role.
pub const FILTER_ROLE: u32 = 1 << 12;
/// No connection with a remote loopback address.
pub const FILTER_NO_LOOPBACK: u32 = 1 << 13;

/// The filters that look at the opening process.
pub const FILTERS_OF_PROCESS: u32 = FILTER_PID | FILTER_UID | FILTER_CGROUP;
/// The filters that look at addresses and ports.
pub const FILTERS_OF_TUPLE: u32 =
    FILTER_PORT | FILTER_LPORT | FILTER_RPORT | FILTER_ADDR | FILTER_LADDR | FILTER_RADDR | FILTER_NO_LOOPBACK;

/// Bit in `PORTS`: allowed on either side.
pub const PORT_ANY: u8 = 1;
/// Bit in `PORTS`: allowed as the local port.
pub const PORT_LOCAL: u8 = 2;
/// Bit in `PORTS`: allowed as the remote port.
pub const PORT_REMOTE: u8 = 4;

/// Bit in `PREFIXES*`: allowed on either side.
pub const PREFIX_ANY: u32 = 1;
/// Bit in `PREFIXES*`: allowed as the local address.
pub const PREFIX_LOCAL: u32 = 2;
/// Bit in `PREFIXES*`: allowed as the remote address.
pub const PREFIX_REMOTE: u32 = 4;

/// Record every transition.
pub const WANT_STATES: u32 = 1 << 0;
/// A hook at the end of connect() reports a failure inside it.
pub const WANT_CONNECT_EXIT: u32 = 1 << 1;
/// accept() is hooked: "not accepted" is a fact only then.
pub const WANT_ACCEPT: u32 = 1 << 2;
/// Record processes (fork, exec, exit).
pub const WANT_PROCESSES: u32 = 1 << 3;
/// Record drops with the kernel's stack.
pub const WANT_STACKS: u32 = 1 << 4;

/// Leave out drops by some reasons (map `REASONS`).
pub const WANT_SOME_REASONS: u32 = 1 << 5;
/// Leave out drops by reasons that `REASONS` does not list.
pub const WANT_LISTED_REASONS: u32 = 1 << 6;

/// The settings of the BPF programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Settings {
    /// Id of the cgroup of [`FILTER_CGROUP`].
    pub cgroup_id: u64,
    /// Ring fill in bytes from which each record wakes the agent.
    pub wake_bytes: u64,
    /// `FILTER_*`.
    pub filters: u32,
    /// `WANT_*`.
    pub wants: u32,
    /// 4 or 6, with [`FILTER_FAMILY`].
    pub family: u32,
    /// A [`crate::record::RecordRole`], with [`FILTER_ROLE`].
    pub role: u32,
    /// Level of that cgroup below the root.
    pub cgroup_level: u32,
    /// Maximum of drops with a record of their own per tenth of a second, on all CPUs together.
    pub drops_told: u32,
    /// A random seed: without it an attacker could choose packets with equal hashes.
    pub drops_seed: u64,
    /// 1: a task may be preempted inside a tracepoint's program, and move to another CPU between two programs.
    pub tracepoints_preemptible: u32,
    /// 1: count the outcome of every call of a hook; see [`crate::audit`].
    pub audit: u32,
    /// System call numbers of connect(), accept() and accept4(), for the audit.
    pub nr_connect: u32,
    /// See above.
    pub nr_accept: u32,
    /// See above.
    pub nr_accept4: u32,
    /// Length of the kernel's tick (jiffy); 0 if unknown.
    pub tick_ns: u32,
    /// Drops that a CPU draws from `drops_told` at once.
    pub drops_drawn: u32,
    /// Inode number of the pid namespace whose numbers the agent uses; 0 for the initial namespace.
    pub pid_ns: u32,
}

impl Settings {
    /// No filter, no optional record.
    pub const NONE: Self = Self {
        cgroup_id: 0,
        wake_bytes: 0,
        filters: 0,
        wants: 0,
        family: 0,
        role: 0,
        cgroup_level: 0,
        drops_told: 0,
        drops_seed: 0,
        tracepoints_preemptible: 0,
        audit: 0,
        nr_connect: 0,
        nr_accept: 0,
        nr_accept4: 0,
        tick_ns: 0,
        drops_drawn: 0,
        pid_ns: 0,
    };
}

/// Key of the IPv4 prefix map: the kernel's `bpf_lpm_trie_key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PrefixKey4 {
    /// Bits that count.
    pub bits: u32,
    /// Address in network order.
    pub addr: [u8; 4],
}

/// Key of the IPv6 prefix map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PrefixKey6 {
    /// Bits that count.
    pub bits: u32,
    /// Address in network order.
    pub addr: [u8; 16],
}

const _: () = {
    assert!(size_of::<Settings>() == 80);
    assert!(size_of::<PrefixKey4>() == 8 && size_of::<PrefixKey6>() == 20);
};

/// Programs that do the same work, for kernels where a task may be preempted inside one.
pub const LANES: u32 = 3;

/// Maximum of tracepoint calls under way or with a note left behind: one for each kernel stack from which a
/// tracepoint can be called.
pub const CALLS: u32 = 16_384;
