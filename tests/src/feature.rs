//! Features that a kernel may lack, and the version from which on every kernel has them.
//!
//! A test that needs a feature of this table may skip on an older kernel. `cargo xtask vm` reads the same table: its
//! kernels are Debian's, which have everything of their version switched on, and a skip on a kernel that must have the
//! feature is a failure. Compiled into both, so it depends on nothing.

/// Name, and the first version (major, minor) with it. Tests of this machine may skip for other reasons
/// (lockdown, a configuration without it); in the matrix there are none.
pub const FEATURES: [(&str, (u64, u64)); 29] = [
    // Older than the oldest kernel that is tried; here so that their absence is never taken for normal.
    ("cgroup2", (4, 5)),
    ("cgroup/connect4", (4, 17)),
    ("io_uring", (5, 1)),
    // BPF_PROG_TYPE_SK_MSG: 4f738adba30a.
    ("sockmap", (4, 17)),
    ("tun", (2, 4)),
    // arch/x86's CONFIG_IA32_EMULATION.
    ("32-bit programs", (2, 6)),
    // net/tls: 3c4d7559159b.
    ("kernel TLS", (4, 13)),
    ("fuse", (2, 6)),
    ("TCP MD5", (2, 6)),
    // bpf_xdp_link_attach: aa8d3a716b59.
    ("XDP links", (5, 9)),
    ("memory controller", (4, 5)),
    // BPF_PROG_TYPE_CGROUP_SKB by a link: af6eea57437a.
    ("cgroup/skb", (5, 7)),
    // BPF_TCX_INGRESS: e420bed02507.
    ("tcx", (6, 6)),
    // Not a feature of the kernel: the machines of `cargo xtask vm` have it.
    ("machine of its own", (2, 4)),
    ("suspend", (2, 6)),
    ("time namespace", (5, 6)),
    ("ring buffer", (5, 8)),
    // include/trace/events/sock.h: e6a3e4434000.
    ("inet_sk_error_report", (5, 14)),
    // Since 5.6; Debian's 5.10 is configured without it.
    ("mptcp", (5, 11)),
    // include/trace/events/skb.h, kfree_skb's `reason`: c504e5c2f964.
    ("drop reasons", (5, 17)),
    // The reasons of a rule, of rp_filter (c1f166d1f7ee), and of a missing route (c4eb664191b4).
    ("NETFILTER_DROP", (5, 18)),
    ("IP_RPFILTER", (5, 18)),
    ("IP_INNOROUTES", (5, 19)),
    // kernel/trace/fprobe.c and BPF's kprobe.multi.
    ("kprobe.multi", (5, 18)),
    // kernel/bpf/helpers.c, bpf_rdonly_cast; on x86_64.
    ("connections by BPF", (6, 2)),
    // include/uapi/linux/bpf.h, bpf_link_info's perf_event.kprobe.missed.
    ("kprobe misses", (6, 7)),
    // include/trace/events/tcp.h, tcp_send_reset's `reason`: b533fb9cf4f7, and the RST of a closed port:
    // 19822a980e19.
    ("reset reasons", (6, 10)),
    ("resets without a socket", (6, 10)),
    // include/trace/events/skb.h, kfree_skb's `rx_sk`: c53795d48ee8.
    ("rx_sk", (6, 11)),
];

/// The first version with a feature; `None` if the table does not know it.
#[must_use]
pub fn since(feature: &str) -> Option<(u64, u64)> {
    FEATURES.iter().find(|(name, _)| *name == feature).map(|(_, since)| *since)
}
