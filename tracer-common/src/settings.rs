//! The values that the agent writes into the object's read-only data before it loads the object.
//!
//! The kernel freezes that section, so the verifier knows every value: an offset becomes a constant
//! and a branch on a disabled feature is never even verified.

/// "This kernel has no such field": the feature that needs it is off.
pub const ABSENT: u32 = u32::MAX;

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Offsets in kernel structures, from the running kernel's BTF. [`ABSENT`] if there is none.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct Offsets { $($(#[$doc])* pub $name: u32,)* }

        impl Offsets {
            /// Nothing is known.
            pub const NONE: Self = Self { $($name: ABSENT,)* };

            /// Iterates over all offsets with their names.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u32)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

offsets! {
    /// `sock_common.skc_daddr`
    skc_daddr,
    /// `sock_common.skc_rcv_saddr`
    skc_rcv_saddr,
    /// `sock_common.skc_dport`
    skc_dport,
    /// `sock_common.skc_num`
    skc_num,
    /// `sock_common.skc_family`
    skc_family,
    /// `sock_common.skc_state`
    skc_state,
    /// `sock_common.skc_bound_dev_if`
    skc_bound_dev_if,
    /// `sock_common.skc_ipv6only`, a bit field: its byte, and its bit in that byte.
    skc_ipv6only,
    /// See `skc_ipv6only`.
    skc_ipv6only_mask,
    /// `sock.sk_kern_sock`, the same.
    sk_kern_sock,
    /// See `sk_kern_sock`.
    sk_kern_sock_mask,
    /// `sock_common.skc_net`
    skc_net,
    /// `sock_common.skc_v6_daddr`
    skc_v6_daddr,
    /// `sock_common.skc_v6_rcv_saddr`
    skc_v6_rcv_saddr,
    /// `sock_common.skc_flags`
    skc_flags,
    /// `net.ns.inum`
    net_inum,
    /// `sock.sk_err`
    sk_err,
    /// `sock.sk_err_soft`
    sk_err_soft,
    /// `sock.sk_user_data`
    sk_user_data,
    /// `sock.sk_protocol`
    sk_protocol,
    /// `sock.sk_socket`
    sk_socket,
    /// `sock.sk_max_ack_backlog`
    sk_max_ack_backlog,
    /// `inet_sock.inet_sport`
    inet_sport,
    /// `tcp_sock.bytes_acked`
    bytes_acked,
    /// `tcp_sock.bytes_received`
    bytes_received,
    /// `tcp_sock.bytes_sent`
    bytes_sent,
    /// `tcp_sock.bytes_retrans`
    bytes_retrans,
    /// `tcp_sock.snd_nxt`
    snd_nxt,
    /// `tcp_sock.snd_una`
    snd_una,
    /// `tcp_sock.write_seq`
    write_seq,
    /// `tcp_sock.total_retrans`
    total_retrans,
    /// `tcp_sock.srtt_us`
    srtt_us,
    /// `tcp_sock.rtt_min.s[0].v`
    min_rtt_us,
    /// Byte that holds `tcp_sock.is_mptcp`
    is_mptcp,
    /// Mask of `tcp_sock.is_mptcp` in that byte (not an offset)
    is_mptcp_mask,
    /// `mptcp_sock.first`
    mptcp_first,
    /// `inet_connection_sock.icsk_ulp_data`
    icsk_ulp_data,
    /// `mptcp_subflow_context.conn`
    subflow_conn,
    /// Byte that holds `mptcp_subflow_context.request_join` and `mp_join`
    subflow_join,
    /// Mask of both in that byte (not an offset)
    subflow_join_mask,
    /// `tcp_sock.tsorted_sent_queue`
    tsorted_sent_queue,
    /// `inode.i_ino` from the start of `struct socket` (through `struct socket_alloc`)
    socket_inode,
    /// `socket.state`
    socket_state,
    /// `socket.sk`
    socket_sk,
    /// `task_struct.group_leader`
    task_group_leader,
    /// `task_struct.start_boottime`, `real_start_time` before 5.5
    task_start_boottime,
    /// `task_struct.files`
    task_files,
    /// `task_struct.tgid`
    task_tgid,
    /// `task_struct.pid`
    task_pid,
    /// `task_struct.thread_pid`
    task_thread_pid,
    /// `pid.level`
    pid_level,
    /// `pid.numbers[0].nr`
    pid_number,
    /// `pid.numbers[0].ns`
    pid_ns,
    /// `pid_namespace.ns.inum`
    pid_ns_inum,
    /// `task_struct.flags`
    task_flags,
    /// `task_struct.mm`
    task_mm,
    /// `files_struct.fdt`
    files_fdt,
    /// `fdtable.fd`
    fdt_fd,
    /// `fdtable.max_fds`
    fdt_max_fds,
    /// `file.private_data`
    file_private_data,
    /// `socket.file`
    socket_file,
    /// `task_struct.signal`
    task_signal,
    /// `signal_struct.live.counter`
    signal_live,
    /// `skaddr` in the classic tracepoint `sock:inet_sock_set_state` (tracefs `format`)
    state_format_skaddr,
    /// `oldstate` there
    state_format_oldstate,
    /// `newstate` there
    state_format_newstate,
    /// `sport` there
    state_format_sport,
    /// `dport` there
    state_format_dport,
    /// `family` there
    state_format_family,
    /// `protocol` there
    state_format_protocol,
    /// `saddr` there
    state_format_saddr,
    /// `daddr` there
    state_format_daddr,
    /// `saddr_v6` there
    state_format_saddr_v6,
    /// `daddr_v6` there
    state_format_daddr_v6,
    /// `skaddr` in the classic tracepoint `tcp:tcp_destroy_sock`
    destroy_format_skaddr,
    /// `linux_binprm.filename`
    binprm_filename,
    /// `task_struct.comm`
    task_comm,
    /// `task_struct.cred`
    task_cred,
    /// `cred.euid`
    cred_euid,
    /// `mm_struct.arg_start`
    mm_arg_start,
    /// `mm_struct.arg_end`
    mm_arg_end,
    /// `mm_struct.task_size`: the end of the addresses of a process
    mm_task_size,
    /// `io_kiocb.opcode`
    io_opcode,
    /// `io_kiocb.file`
    io_file,
    /// `io_uring_cqe.res`
    io_cqe_res,
    /// `io_connect.addr`
    io_connect_addr,
    /// Byte that holds `io_connect.in_progress`
    io_connect_in_progress,
    /// Number of `SOCK_DONE` in `enum sock_flags` (not an offset)
    sock_done_bit,
    /// Arguments of `inet_csk_accept` (not an offset): 4 up to 6.9, 2 from 6.10
    accept_args,
    /// `file.f_inode`
    file_inode,
    /// `inode.i_mode`
    inode_mode,
    /// `inode.i_ino`
    inode_ino,
    /// `inet_timewait_sock.tw_substate`
    tw_substate,
    /// `sock.sk_ack_backlog`
    sk_ack_backlog,
    /// `tcp_sock.rcv_nxt`
    rcv_nxt,
    /// `tcp_sock.copied_seq`
    copied_seq,
    /// Third argument of `io_uring_complete` is a `struct io_uring_cqe *` (1) or the result (0)
    io_complete_has_cqe,
    /// `bpf_get_current_task_btf` exists (1): from 5.11 on
    task_btf,
    /// Offset of the result in the arguments of the syscall exit tracepoints
    sys_exit_ret,
    /// Offset of the first argument in the arguments of the syscall entry tracepoints
    sys_enter_args,
    /// Number of the system call in `struct pt_regs`
    regs_syscall,
    /// First argument of a system call in `struct pt_regs`, as it was at its entry
    regs_first,
    /// Second argument there
    regs_second,
    /// First argument of a 32-bit system call there
    regs_compat_first,
    /// Second argument of a 32-bit system call there
    regs_compat_second,
    /// `bpf_task_pt_regs` exists (1): from 5.15 on
    task_pt_regs,
    /// `task_struct.thread_info.status` (x86: shows a 32-bit system call under way)
    thread_status,
    /// Byte that holds `tcp_sock.repair`
    tcp_repair,
    /// Mask of `tcp_sock.repair` in that byte (not an offset)
    tcp_repair_mask,
    /// `sk_buff.head`
    skb_head,
    /// `sk_buff.data`
    skb_data,
    /// `sk_buff.tail`, an offset from `head`
    skb_tail,
    /// `sk_buff.len`
    skb_len,
    /// `sk_buff.network_header`
    skb_network_header,
    /// `sk_buff.transport_header`
    skb_transport_header,
    /// `sk_buff.protocol`
    skb_protocol,
    /// `sk_buff.dev`
    skb_dev,
    /// `sk_buff.sk`
    skb_sk,
    /// `sk_buff.skb_iif`
    skb_iif,
    /// `sk_buff._skb_refdst`
    skb_refdst,
    /// `tcp_skb_cb.seq` from the start of `sk_buff`
    skb_tcp_seq,
    /// `tcp_skb_cb.end_seq` from the start of `sk_buff`
    skb_tcp_end_seq,
    /// `tcp_skb_cb.tcp_flags` from the start of `sk_buff`
    skb_tcp_flags,
    /// `net_device.ifindex`
    dev_ifindex,
    /// `net_device.name`
    dev_name,
    /// `net_device.nd_net.net`
    dev_net,
    /// `dst_entry.flags`
    dst_flags,
    /// `rtable.rt_type`
    rt_type,
    /// `rt6_info.rt6i_flags`
    rt6_flags,
    /// `sock_common.skc_listener` of a request socket
    skc_listener,
    /// `tcp_request_sock.snt_isn`
    request_isn,
    /// Byte that holds `inet_connection_sock.icsk_ca_state`
    icsk_ca_state,
    /// Mask of `icsk_ca_state` in that byte (not an offset)
    icsk_ca_state_mask,
    /// Arguments of the tracepoint `kfree_skb` (not an offset): 2, 3 with a reason, 4 with `rx_sk`
    kfree_skb_args,
    /// Arguments of the tracepoint `tcp_send_reset` (not an offset): 2, 3 with a reason
    send_reset_args,
    /// `skbaddr` in the classic tracepoint `skb:kfree_skb`
    kfree_format_skbaddr,
    /// `location` there
    kfree_format_location,
    /// `rx_sk` there
    kfree_format_rx_sk,
    /// `reason` there
    kfree_format_reason,
    /// `skbaddr` in the classic tracepoint `tcp:tcp_send_reset`
    send_reset_format_skbaddr,
    /// `skaddr` there
    send_reset_format_skaddr,
    /// `reason` there
    send_reset_format_reason,
    /// `skaddr` in the classic tracepoint `tcp:tcp_receive_reset`
    receive_reset_format_skaddr,
    /// `skbaddr` in the classic tracepoint `tcp:tcp_retransmit_skb`
    retransmit_format_skbaddr,
    /// `skaddr` there
    retransmit_format_skaddr,
    /// `skaddr` in the classic tracepoint `tcp:tcp_retransmit_synack`
    synack_format_skaddr,
    /// `req` there
    synack_format_req,
    /// `tcp_sock.lsndtime`
    lsndtime,
    /// `inet_connection_sock.icsk_ack.lrcvtime`
    lrcvtime,
    /// `tcp_sock.tcp_clock_cache`
    tcp_clock_cache,
    /// `tcp_sock.tcp_wstamp_ns`
    tcp_wstamp_ns,
    /// `inet_connection_sock.icsk_rto`
    icsk_rto,
    /// `inet_connection_sock.icsk_retransmits`
    icsk_retransmits,
    /// `sock.sk_lock.owned`
    sk_lock_owned,
    /// `sock.sk_error_queue.prev`
    sk_error_queue_prev,
    /// `sock.sk_error_queue.qlen`
    sk_error_queue_qlen,
    /// `sock_exterr_skb.ee` from the start of `sk_buff`
    skb_exterr,
}

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
    assert!(size_of::<Offsets>().is_multiple_of(4));
    assert!(size_of::<PrefixKey4>() == 8 && size_of::<PrefixKey6>() == 20);
};

/// Programs that do the same work, for kernels where a task may be preempted inside one.
pub const LANES: u32 = 3;

/// Maximum of tracepoint calls under way or with a note left behind: one for each kernel stack from which a
/// tracepoint can be called.
pub const CALLS: u32 = 16_384;
