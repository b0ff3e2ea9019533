//! The errors of system calls on sockets.

use super::{Entry, Family};

const fn errno(
    name: &'static str,
    meaning: &'static str,
    causes: &'static [&'static str],
    look: &'static [&'static str],
) -> Entry {
    Entry { family: Family::Errno, name, also: &[], class: None, meaning, causes, look }
}

const CALLS: &[&str] = &["strace -f -e trace=%network -p PID"];

/// The entries.
pub const TABLE: &[Entry] = &[
    errno(
        "EPERM",
        "Not permitted. From a socket: a firewall or a BPF program dropped the packet that was being sent.",
        &[
            "A drop rule in the output chain",
            "A cgroup BPF program (systemd's IPAddressDeny=)",
            "A capability is missing (CAP_NET_RAW, CAP_NET_ADMIN)",
        ],
        &["nft list ruleset", "bpftool cgroup tree", "capsh --print"],
    ),
    errno(
        "ENOENT",
        "No such file. From connect(): there is no Unix socket at that path.",
        &["The server is not running or uses another path", "The path is in another mount namespace (container)"],
        &["ss -xl", "ls -l /proc/PID/root"],
    ),
    errno(
        "EINTR",
        "A signal interrupted the call. connect() goes on in the background.",
        &["A handler without SA_RESTART, or a profiler or timer"],
        CALLS,
    ),
    errno(
        "EIO",
        "The kernel could not read or write.",
        &["A device that failed or was removed (tun, netlink)"],
        &["dmesg | tail"],
    ),
    errno(
        "EBADF",
        "The number is no open file descriptor.",
        &["Used after close(), mostly by another thread"],
        &["ls -l /proc/PID/fd", "strace -f -e trace=%network,close -p PID"],
    ),
    errno(
        "EAGAIN",
        "It would have to wait, and the socket does not block (EWOULDBLOCK is the same). From connect() of a Unix \
         socket: the listener's queue is full.",
        &[
            "Normal for sockets that do not block",
            "SO_RCVTIMEO or SO_SNDTIMEO ran out",
            "A full accept queue of a Unix socket",
        ],
        &["ss -xl  # Recv-Q against Send-Q", "ss -tanmp", "strace -f -e trace=%network -p PID"],
    ),
    errno(
        "ENOMEM",
        "The kernel has no memory for it.",
        &["The host or the cgroup is at its limit", "net.core.optmem_max is small for the options set"],
        &["cat /proc/net/sockstat", "cat /proc/pressure/memory", "sysctl net.core.optmem_max net.ipv4.tcp_mem"],
    ),
    errno(
        "EACCES",
        "Access denied: a port below the unprivileged ones, a broadcast address without SO_BROADCAST, a security \
         module, a route of type prohibit, or a Unix socket's file mode.",
        &[
            "bind() to a port below 1024 without CAP_NET_BIND_SERVICE",
            "`ip route` with prohibit",
            "SELinux or AppArmor",
        ],
        &["sysctl net.ipv4.ip_unprivileged_port_start", "ip route get ADDRESS", "ausearch -m avc -ts recent"],
    ),
    errno("EFAULT", "A bad address was passed to the kernel.", &["An error of the program"], CALLS),
    errno("EBUSY", "The resource is in use.", &["A device or address that another one holds"], CALLS),
    errno(
        "ENODEV",
        "No such device.",
        &["SO_BINDTODEVICE or a scope id with a device that is not in this namespace"],
        &["ip link show", "ip netns identify PID"],
    ),
    errno(
        "EINVAL",
        "An argument makes no sense here.",
        &[
            "A wrong address length",
            "listen() or accept() on a socket that cannot",
            "A route or destination that the kernel holds for invalid",
        ],
        CALLS,
    ),
    errno(
        "ENFILE",
        "The host has too many open files.",
        &["A leak of file descriptors", "fs.file-max is low"],
        &["cat /proc/sys/fs/file-nr", "sysctl fs.file-max"],
    ),
    errno(
        "EMFILE",
        "The process has too many open files. accept() fails, and connections wait in the queue.",
        &["A leak: look for CLOSE_WAIT", "RLIMIT_NOFILE is low for the load"],
        &["cat /proc/PID/limits", "ls /proc/PID/fd | wc -l", "ss -tanp state close-wait"],
    ),
    errno(
        "EPIPE",
        "Written to a connection whose sending side is closed. The program gets SIGPIPE, too, unless it ignores it.",
        &["The peer has reset or closed, and the program writes on", "shutdown(SHUT_WR) before"],
        &["tracer --verdict reset_remote,closed_remote -p PID", "strace -f -e trace=%network -p PID"],
    ),
    errno(
        "EPROTO",
        "A protocol error.",
        &["The connection was gone before accept() took it", "A violation in SCTP, TLS offload or another protocol"],
        CALLS,
    ),
    errno(
        "ENOTSOCK",
        "The file descriptor is no socket.",
        &["An error of the program: often a number that was reused after close()"],
        &["ls -l /proc/PID/fd"],
    ),
    errno("EDESTADDRREQ", "No destination was given.", &["send() on a UDP socket that is not connected"], CALLS),
    errno(
        "EMSGSIZE",
        "The message is too large to be sent in one piece.",
        &[
            "A datagram beyond the path MTU with don't fragment set",
            "A datagram beyond 65,507 bytes",
            "A tunnel that lowers the MTU",
        ],
        &["ip route get ADDRESS  # mtu", "tracepath ADDRESS", "ip link show"],
    ),
    errno(
        "ENOPROTOOPT",
        "No such socket option for this kind of socket.",
        &["A kernel without that feature", "ICMP said protocol unreachable"],
        CALLS,
    ),
    errno(
        "EPROTONOSUPPORT",
        "The protocol is not supported.",
        &["A module that is not there or may not be loaded (SCTP, MPTCP is off)"],
        &["sysctl net.mptcp.enabled", "lsmod"],
    ),
    errno(
        "ESOCKTNOSUPPORT",
        "This kind of socket is not supported.",
        &["A combination of type and protocol that does not exist"],
        CALLS,
    ),
    errno(
        "EOPNOTSUPP",
        "The operation is not supported on this socket.",
        &["listen() or accept() on a datagram socket", "A flag that this protocol does not know"],
        CALLS,
    ),
    errno(
        "EPFNOSUPPORT",
        "The protocol family is not supported.",
        &["A module that is not loaded"],
        &["lsmod", "cat /proc/net/protocols"],
    ),
    errno(
        "EAFNOSUPPORT",
        "The address family is not supported, or does not fit the socket.",
        &["IPv6 is disabled in the kernel (ipv6.disable=1)", "An IPv4 address on an IPv6-only socket"],
        &["cat /proc/net/protocols", "sysctl net.ipv6.bindv6only"],
    ),
    errno(
        "EADDRINUSE",
        "The address and port are taken.",
        &[
            "Another process listens there",
            "Connections in TIME_WAIT, and the server does not set SO_REUSEADDR",
            "A listener that a child process inherited",
        ],
        &["ss -lntup 'sport = :PORT'", "ss -tan 'sport = :PORT'", "sysctl net.ipv4.ip_local_reserved_ports"],
    ),
    errno(
        "EADDRNOTAVAIL",
        "The address is not one of this host, or connect() found no free local port.",
        &[
            "All local ports to this destination are in use, many of them in TIME_WAIT",
            "bind() to an address that is not there (yet)",
            "IPv6: the address is tentative or lost duplicate detection",
        ],
        &[
            "ss -tan state time-wait | wc -l",
            "sysctl net.ipv4.ip_local_port_range net.ipv4.tcp_tw_reuse net.ipv4.ip_nonlocal_bind",
            "ip addr",
        ],
    ),
    errno(
        "ENETDOWN",
        "The interface is down.",
        &["`ip link set DEV down`, or the device was removed"],
        &["ip link show", "ip monitor link"],
    ),
    errno(
        "ENETUNREACH",
        "No route to the network.",
        &[
            "No default route, or no route in this namespace or table",
            "IPv6 addresses from DNS on a host without IPv6",
            "A router said so by ICMP",
        ],
        &["ip route get ADDRESS", "ip -6 route", "ip rule"],
    ),
    errno(
        "ENETRESET",
        "The network dropped the connection.",
        &["Keepalive found that the peer has restarted (older systems)"],
        CALLS,
    ),
    errno(
        "ECONNABORTED",
        "The connection was aborted on this side.",
        &[
            "`ss -K` or a program with that right",
            "The peer reset before accept() took it",
            "The network namespace was removed",
        ],
        &["tracer --verdict aborted,listener_closed", "nstat -az TcpExtTCPAbortFailed TcpExtListenDrops"],
    ),
    errno(
        "ECONNRESET",
        "The peer, or something on the way, reset the connection (RST).",
        &[
            "The peer's program crashed, or closed with unread data",
            "A load balancer or firewall cut an idle connection",
            "The peer restarted",
        ],
        &["tracer --verdict reset_remote", "tcpdump -vni DEV 'tcp[tcpflags] & tcp-rst != 0'"],
    ),
    errno(
        "ENOBUFS",
        "No buffer space: a queue of a device or socket is full, or memory is short.",
        &[
            "A netlink reader that is too slow",
            "A datagram that a full device queue did not take (with IP_RECVERR)",
            "The conntrack or neighbour table is full",
        ],
        &["tc -s qdisc", "dmesg | tail", "sysctl net.ipv4.neigh.default.gc_thresh3 net.core.wmem_max"],
    ),
    errno(
        "EISCONN",
        "The socket is connected already.",
        &[
            "connect() called again after it had succeeded in the background",
            "sendto() with an address on a connected socket",
        ],
        CALLS,
    ),
    errno(
        "ENOTCONN",
        "The socket is not connected.",
        &["The peer reset before the call (getpeername(), shutdown())", "An error of the program"],
        &["tracer --verdict reset_remote,refused -p PID", "strace -f -e trace=%network -p PID"],
    ),
    errno("ESHUTDOWN", "The other end was shut down.", &["Written to a socket or device that is being closed"], CALLS),
    errno(
        "ETOOMANYREFS",
        "Too many references: too many file descriptors in flight over Unix sockets, or the program may not send more.",
        &["A receiver that does not read, while descriptors are passed to it"],
        &["cat /proc/PID/limits", "ss -xanp"],
    ),
    errno(
        "ETIMEDOUT",
        "No answer in time: to connect(), to data (tcp_retries2, TCP_USER_TIMEOUT), or to keepalive.",
        &["A firewall drops silently", "The peer or the path is gone", "A NAT forgot the idle connection"],
        &[
            "tracer --verdict timed_out",
            "ip route get ADDRESS",
            "sysctl net.ipv4.tcp_syn_retries net.ipv4.tcp_retries2",
        ],
    ),
    errno(
        "ECONNREFUSED",
        "The destination answered that no process listens there (RST, or ICMP port unreachable).",
        &[
            "The service is not running, or listens on another address or port",
            "A firewall rule with reject",
            "A Unix socket whose server is gone",
        ],
        &["ss -lntup  # at the destination", "tracer --verdict refused", "nft list ruleset"],
    ),
    errno("EHOSTDOWN", "The host is down.", &["An old link layer said so"], &["ip neigh"]),
    errno(
        "EHOSTUNREACH",
        "No way to the host: the next hop does not answer ARP, or a router or firewall said so by ICMP.",
        &[
            "The host is down or has another address",
            "A firewall rejects with host unreachable or prohibited",
            "A route of type unreachable",
        ],
        &["ip neigh", "ip route get ADDRESS", "nstat -az IcmpInDestUnreachs"],
    ),
    errno(
        "EALREADY",
        "connect() is under way already.",
        &["connect() called again before it has ended; wait with poll() and read SO_ERROR"],
        CALLS,
    ),
    errno(
        "EINPROGRESS",
        "connect() goes on in the background: the socket does not block.",
        &["Normal; poll() shows when it is done, SO_ERROR how it ended"],
        CALLS,
    ),
    errno(
        "ECANCELED",
        "The operation was cancelled.",
        &["An io_uring request that was cancelled, or whose link failed or timed out"],
        CALLS,
    ),
];
