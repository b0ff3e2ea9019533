//! The limits of a trace on a host (`degraded` in the summary, `Degradation` of tracer).

use super::{Entry, Family};

const LOOK: &[&str] = &["tracer doctor"];

const fn loss(name: &'static str, meaning: &'static str, causes: &'static [&'static str]) -> Entry {
    Entry { family: Family::Degradation, name, also: &[], class: None, meaning, causes, look: LOOK }
}

/// The entries.
pub const TABLE: &[Entry] = &[
    loss(
        "no_connect",
        "connect() is not hooked: calls that fail before a SYN is sent are not seen.",
        &["The kernel has neither kprobes nor trampolines, or is locked down"],
    ),
    loss(
        "connect_by_syscall",
        "connect() is hooked at the system call: all system calls of the host take a slower path, and TCP Fast Open sends that fail at once are not seen.",
        &["The kernel has neither kprobes nor trampolines, or is locked down"],
    ),
    loss(
        "no_accept",
        "accept() is not hooked: there are no accept events, and tracer looks the acceptor up in /proc a moment later.",
        &["The kernel has neither kprobes nor trampolines, or is locked down"],
    ),
    loss(
        "accept_by_syscall",
        "accept() is hooked at the system call: all system calls of the host take a slower path.",
        &["The kernel has neither kprobes nor trampolines, or is locked down"],
    ),
    loss(
        "accept_by_kretprobe",
        "accept() is hooked by a kretprobe: if very many threads wait in it at once, some accepts are missed.",
        &["The kernel has no trampolines (fentry)"],
    ),
    loss(
        "no_accept_failures",
        "accept() calls that fail for lack of descriptors or memory are not shown.",
        &["The kernel refuses the program or lacks its attach point"],
    ),
    loss(
        "no_io_uring",
        "Accepts through io_uring, and its connects that fail at once, are not seen.",
        &["The kernel refuses the program or lacks its attach point"],
    ),
    loss(
        "no_bind",
        "bind() calls that fail are not shown.",
        &["The kernel refuses the program or lacks its attach point"],
    ),
    loss(
        "no_listen",
        "A failed listen() shows as closed_local, without its errno.",
        &["The kernel refuses the program or lacks its attach point"],
    ),
    loss(
        "no_sockmap",
        "Bytes that BPF programs move between sockets are left out of tx_bytes and rx_bytes, and nothing says so.",
        &["The kernel refuses the program or lacks its attach point"],
    ),
    loss(
        "sockmap_by_syscall",
        "For sockets that a BPF program puts into a sockmap by itself, tx_bytes and rx_bytes leave out redirected bytes, without a notice.",
        &["The kernel has neither kprobes nor trampolines, or is locked down"],
    ),
    loss(
        "no_compat",
        "accept() and failing connect() calls of 32-bit programs are not seen.",
        &["The kernel refuses the program or lacks its attach point", "Another processor than x86"],
    ),
    loss(
        "compat_when_seen",
        "accept() and failing calls of the first 32-bit program are seen some 30 ms after its start; those that a 64-bit program makes by int 0x80 are not seen until then.",
        &[
            "The kernel has neither kprobes nor trampolines, or is locked down",
            "No 32-bit program ran when the trace began",
        ],
    ),
    loss(
        "no_processes",
        "fork, exec and exit are not seen: -f follows no process, and the programs of short-lived processes may stay unknown.",
        &["The kernel refuses the program or lacks its attach point"],
    ),
    loss(
        "no_error_report",
        "There are no error events; the close still has the error, where it can be read.",
        &["The kernel is older than 5.14"],
    ),
    loss(
        "no_destroy",
        "The end of sockets is not hooked: a close that is missed is not recovered.",
        &["The kernel refuses the program or lacks its attach point"],
    ),
    loss("no_drops", "Dropped packets are not seen.", &["The kernel refuses the program or lacks its attach point"]),
    loss(
        "no_drop_reasons",
        "The kernel gives no reasons for drops: the call site stands for them.",
        &["The kernel is older than 5.17"],
    ),
    loss(
        "no_retransmits",
        "There are no retransmit events; close still counts segments that were sent again.",
        &["The kernel refuses the program or lacks its attach point"],
    ),
    loss(
        "no_resets",
        "There are no reset events; verdicts still show who reset a connection.",
        &["The kernel refuses the program or lacks its attach point"],
    ),
    loss(
        "no_resets_for_nobody",
        "RST that is sent for closed ports and for ended connections is not seen.",
        &["The kernel is older than 6.10 and its functions cannot be hooked"],
    ),
    loss(
        "no_btf",
        "The kernel gives no type information: verdicts, errors, bytes and namespaces are unknown.",
        &["CONFIG_DEBUG_INFO_BTF is off", "The option --btf none"],
    ),
    loss(
        "missing",
        "A member of a structure of the kernel was not found; facts that need it are unknown. The name follows a colon.",
        &["A kernel that is newer than this tracer, or changed by its vendor"],
    ),
    loss(
        "no_cap_sys_ptrace",
        "Executables of other users' processes, the sockets that they hold already, and other network namespaces stay unknown.",
        &["tracer runs without all capabilities"],
    ),
    loss(
        "no_cap_dac_read_search",
        "Sockets that other users' processes hold already have no owner.",
        &["tracer runs without all capabilities"],
    ),
    loss(
        "no_cap_sys_admin",
        "Other network namespaces cannot be entered: drops there do not say the rule, the queueing discipline or the next hop.",
        &["tracer runs without all capabilities"],
    ),
    loss("no_cap_net_admin", "Drops by netfilter do not say the rule.", &["tracer runs without all capabilities"]),
    loss(
        "no_seccomp",
        "The kernel cannot filter system calls: tracer keeps all of them while it runs.",
        &["CONFIG_SECCOMP_FILTER is off"],
    ),
    loss(
        "pid_namespace",
        "Processes outside of the pid namespace whose /proc tracer sees have no number in it: their connections have no owner.",
        &["tracer runs in a container: run it in the host's pid namespace (docker run --pid=host)"],
    ),
];
