//! Reasons of `enum skb_drop_reason` that belong to no protocol: sockets, memory, rules.

use crate::DropClass::{Loss, Noise, Policy, Refused, Teardown};
use crate::Entry;

use super::{RULES, drop};

/// The entries.
pub const TABLE: &[Entry] = &[
    drop(
        "SKB_NOT_DROPPED_YET",
        Noise,
        "The packet has not been dropped. The value stands for \"no reason\" inside the kernel and is not meant to be \
         reported.",
        &["A driver or module passes its own result as a drop reason"],
        &["dmesg | tail"],
    ),
    drop(
        "SKB_CONSUMED",
        Teardown,
        "The packet was used up in the normal way and then freed. Nothing was lost.",
        &["The normal end of a packet, on a path that reports all ends alike"],
        &["bpftool prog show  # who else traces kfree_skb"],
    ),
    drop(
        "SKB_DROP_REASON_NOT_SPECIFIED",
        Loss,
        "The code that dropped the packet gives no reason. The function that freed it is all there is to go by.",
        &[
            "A path that has not been given a reason yet: the location names it",
            "A driver or an out-of-tree module that calls kfree_skb()",
        ],
        &["perf record -e skb:kfree_skb -ag -- sleep 5", "nstat -az", "ip -s -s link"],
    ),
    drop(
        "SKB_DROP_REASON_NO_SOCKET",
        Refused,
        "No socket of this host wants the packet: no listener, no connection, no UDP socket with this address and \
         port. TCP answers with RST, UDP with ICMP port unreachable.",
        &[
            "No process listens on the destination port, or only on another address (127.0.0.1, one address family)",
            "The service is in another network namespace",
            "Late packets of a connection that this host has forgotten",
            "A port scan",
        ],
        &["ss -lntu", "tracer --verdict refused", "nstat -az TcpOutRsts UdpNoPorts"],
    ),
    drop(
        "SKB_DROP_REASON_SOCKET_CLOSE",
        Teardown,
        "The socket was closed with this packet still in its queue.",
        &["The program closed the socket without having read everything", "The program ended"],
        &["ss -tane state all", "nstat -az TcpExtTCPAbortOnClose"],
    ),
    drop(
        "SKB_DROP_REASON_SOCKET_FILTER",
        Policy,
        "The filter of the receiving socket (SO_ATTACH_FILTER, SO_ATTACH_BPF) or a cgroup ingress program rejected it.",
        &[
            "A program that captures or serves only some packets: tcpdump, a DHCP client",
            "A cgroup BPF program of systemd (IPAddressDeny=) or of a container runtime",
        ],
        &["ss -0 -b", "bpftool cgroup tree", "bpftool prog show"],
    ),
    drop(
        "SKB_DROP_REASON_SOCKET_RCVBUFF",
        Loss,
        "The receive buffer of the socket is full: the program does not read fast enough.",
        &[
            "The program is too slow, stopped, or blocked",
            "A burst larger than the buffer (UDP)",
            "A small SO_RCVBUF, or net.core.rmem_max keeps it small",
        ],
        &[
            "ss -uamn  # Recv-Q, and d in skmem",
            "nstat -az UdpRcvbufErrors",
            "sysctl net.core.rmem_max net.core.rmem_default",
        ],
    ),
    drop(
        "SKB_DROP_REASON_PROTO_MEM",
        Loss,
        "The protocol has no memory for it: the limit of the whole host (tcp_mem, udp_mem) or of the cgroup is reached. \
         TCP says so, too, when the socket's own receive buffer is full.",
        &[
            "A program that does not read (TCP)",
            "Many sockets with full queues, whose programs do not read",
            "The limit is low for this load, or the memory cgroup of the receiver is at its own",
        ],
        &[
            "ss -tuamn  # Recv-Q",
            "cat /proc/net/sockstat",
            "nstat -az UdpMemErrors TcpExtTCPRcvQDrop TcpExtTCPOFODrop TcpExtTCPMemoryPressures",
            "sysctl net.ipv4.tcp_mem net.ipv4.udp_mem net.ipv4.tcp_rmem",
        ],
    ),
    drop(
        "SKB_DROP_REASON_SOCKET_BACKLOG",
        Loss,
        "The socket was busy in a system call, and its backlog of packets to be handled after that is full.",
        &[
            "A burst while the program holds the socket with large reads or writes",
            "A receive buffer that is small for the rate",
        ],
        &["nstat -az TcpExtTCPBacklogDrop", "ss -tmn  # bl and d in skmem", "sysctl net.ipv4.tcp_rmem"],
    ),
    drop(
        "SKB_DROP_REASON_UNIX_DISCONNECT",
        Teardown,
        "A Unix datagram socket was connected to another peer, or found its peer closed: what was queued from the old \
         one is discarded.",
        &["A program reconnects its Unix socket", "The peer closed"],
        &["ss -xan"],
    ),
    drop(
        "SKB_DROP_REASON_UNIX_SKIP_OOB",
        Noise,
        "The reader of a Unix stream skipped out-of-band data (MSG_OOB) by reading on without asking for it.",
        &["A program sends MSG_OOB that the reader does not use"],
        &["ss -xan"],
    ),
    drop(
        "SKB_DROP_REASON_PACKET_SOCK_ERROR",
        Noise,
        "A packet socket (tcpdump, a DHCP client) could not take its copy of a packet. The packet itself went on.",
        &["The buffer of the capture is full", "Memory was short"],
        &["ss -0 -m", "cat /proc/net/packet", "tcpdump -B 16384 -i DEV  # a larger buffer, in KiB"],
    ),
    drop(
        "SKB_DROP_REASON_NETFILTER_DROP",
        Policy,
        "A netfilter rule dropped it: nftables, iptables, or an extension such as conntrack, NAT or IPVS.",
        &[
            "A drop or reject rule, or a chain whose policy is drop",
            "The conntrack table is full",
            "An invalid state: asymmetric routing, a reply to a forgotten connection",
        ],
        &[
            "nft list ruleset",
            "nft monitor trace  # after a rule with `meta nftrace set 1`",
            "iptables-save -c",
            "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max",
            "conntrack -S",
        ],
    ),
    drop(
        "SKB_DROP_REASON_BPF_CGROUP_EGRESS",
        Policy,
        "A BPF program attached to the sender's cgroup refused to let it out. The system call gives EPERM.",
        &["systemd's IPAddressDeny= or RestrictNetworkInterfaces=", "A container runtime's or CNI plugin's program"],
        &["bpftool cgroup tree", "systemctl show UNIT -p IPAddressDeny -p RestrictNetworkInterfaces"],
    ),
    drop(
        "SKB_DROP_REASON_SECURITY_HOOK",
        Policy,
        "A security module (SELinux, Smack, a BPF LSM) refused it.",
        &["A policy with network labels", "A peer without the label that is expected"],
        &["cat /sys/kernel/security/lsm", "ausearch -m avc -ts recent", "journalctl -k --since -10min"],
    ),
    drop(
        "SKB_DROP_REASON_XFRM_POLICY",
        Policy,
        "The IPsec policy does not allow it: it came in clear where ESP is required, or by the wrong association.",
        &["The tunnel is down or was rekeyed", "A policy that covers more traffic than intended"],
        &["ip xfrm policy", "ip -s xfrm state", "cat /proc/net/xfrm_stat"],
    ),
    drop(
        "SKB_DROP_REASON_PSP_INPUT",
        Policy,
        "The checks of PSP, encryption in the network card, rejected an incoming packet: clear text on a secured \
         connection, or another key.",
        &["The two sides switched to PSP at different moments", "A key that was rotated away"],
        &["ss -tien", "ethtool -S DEV"],
    ),
    drop(
        "SKB_DROP_REASON_PSP_OUTPUT",
        Policy,
        "The checks of PSP, encryption in the network card, kept a packet from leaving by a device that cannot encrypt it.",
        &["The route moved to a device without PSP", "The device was reset and lost its keys"],
        &["ip route get ADDRESS", "ethtool -S DEV"],
    ),
    drop(
        "SKB_DROP_REASON_TCP_MINTTL",
        Policy,
        "Its TTL or hop limit is lower than the socket accepts (IP_MINTTL, IPV6_MINHOPCOUNT).",
        &["A BGP peer with TTL security that is more hops away than configured", "A spoofed packet"],
        &["nstat -az TcpExtTCPMinTTLDrop", "tcpdump -vni DEV host ADDRESS  # shows the ttl"],
    ),
    drop(
        "SKB_DROP_REASON_PFMEMALLOC",
        Loss,
        "Memory is so short that the packet was received into the emergency reserve, which only sockets that free \
         memory (swap over network) may use.",
        &["The host is out of memory", "vm.min_free_kbytes is low for the rate of packets"],
        &["nstat -az TcpExtPFMemallocDrop", "cat /proc/pressure/memory", "sysctl vm.min_free_kbytes"],
    ),
    drop(
        "SKB_DROP_REASON_NOMEM",
        Loss,
        "An allocation failed.",
        &["The host or the cgroup is out of memory", "Memory is fragmented and the packet needs large pages"],
        &["dmesg | tail", "cat /proc/pressure/memory", "cat /proc/buddyinfo"],
    ),
    drop(
        "SKB_DROP_REASON_QUEUE_PURGE",
        Teardown,
        "A whole queue was emptied: its socket closed or its device went down.",
        &["A socket was closed with packets in its queue", "A device, tunnel or namespace was removed"],
        &["ip monitor link", "tracer --event close"],
    ),
    drop(
        "SKB_DROP_REASON_MAX",
        Noise,
        "The end mark of the enumeration, not a reason.",
        &["A tool that does not know this kernel's numbers"],
        RULES_NONE,
    ),
    drop(
        "SKB_DROP_REASON_SUBSYS_MASK",
        Noise,
        "The mask that selects the subsystem (mac80211, openvswitch, qdisc) in a reason's number, not a reason.",
        &["A tool that takes the mask for a reason"],
        RULES_NONE,
    ),
    drop(
        "SKB_DROP_REASON_TAP_FILTER",
        Policy,
        "A filter attached to a tun or tap device (TUNATTACHFILTER, TUNSETFILTEREBPF) rejected it.",
        &["The hypervisor or VPN filters for its guest"],
        RULES,
    ),
    drop(
        "SKB_DROP_REASON_TAP_TXFILTER",
        Policy,
        "The MAC filter that a program set on its tap device (TUNSETTXFILTER) rejected it.",
        &["The guest does not listen to that multicast or MAC address"],
        &["ip -s link show DEV", "ip maddr show dev DEV"],
    ),
];

const RULES_NONE: &[&str] =
    &["bpftool btf dump file /sys/kernel/btf/vmlinux format c | grep -A140 'enum skb_drop_reason {'"];
