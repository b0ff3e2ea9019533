//! The offsets in the kernel's structures that the programs read: one line for each field of [`Offsets`], with the place
//! in the running kernel where the agent looks it up.

/// "This kernel has no such field": the feature that needs it is off.
pub const ABSENT: u32 = u32::MAX;

/// Where the value of a field comes from. Only the sources that say so are missed where they are absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Offset of a structure's member, of its byte if it is a bit field; missed.
    Member(&'static str, &'static str),
    /// The member's bits in that byte.
    Mask(&'static str, &'static str),
    /// Offset of the first of these members that there is.
    IfAny(&'static [(&'static str, &'static str)]),
    /// Offset of a structure's member by its new or its old name; missed.
    Either(&'static str, &'static str, &'static str),
    /// The offset of a member, and behind it that of a member of another structure; missed.
    Beyond(&'static str, &'static str, &'static str, &'static str),
    /// Offset in the record of a classic tracepoint (category, name, field), from its `format` file.
    Format(&'static str, &'static str, &'static str),
    /// 1 if there is this enumerator of `bpf_func_id`.
    Helper(&'static str),
    /// Number of an enumerator; missed.
    Enumerator(&'static str, &'static str),
    /// Number of a function's parameters; missed.
    Parameters(&'static str),
    /// Number of a tracepoint's arguments, by the type of its programs.
    Arguments(&'static str),
    /// The agent has code for it alone; missed by this name.
    Other(&'static str),
}

impl core::fmt::Display for Source {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Member(structure, path) | Self::Mask(structure, path) | Self::Either(structure, path, _) => {
                write!(f, "{structure}.{path}")
            }
            Self::IfAny([]) => Ok(()),
            Self::IfAny([(structure, path), ..]) => write!(f, "{structure}.{path}"),
            Self::Beyond(_, _, structure, path) => write!(f, "{structure}.{path}"),
            Self::Format(category, name, field) => write!(f, "{field} in {category}:{name}"),
            Self::Helper(name) => write!(f, "{name}"),
            Self::Enumerator(kind, name) => write!(f, "{kind}.{name}"),
            Self::Parameters(function) => write!(f, "{function}()"),
            Self::Arguments(name) => write!(f, "{name}"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// A field of [`Offsets`].
#[cfg(feature = "user")]
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its source.
    pub source: Source,
    /// Reads it.
    pub get: fn(&Offsets) -> u32,
    /// Writes it.
    pub set: fn(&mut Offsets, u32),
}

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident: $kind:ident($($part:expr),*)),* $(,)?) => {
        /// Values from the running kernel. [`ABSENT`] if it has none.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct Offsets { $($(#[$doc])* #[doc = concat!("[`", stringify!($kind), "`](Source::", stringify!($kind), "): `", stringify!($($part),*), "`.")] pub $name: u32,)* }

        impl Offsets {
            /// Nothing is known.
            pub const NONE: Self = Self { $($name: ABSENT,)* };
        }

        #[cfg(feature = "user")]
        impl Offsets {
            /// All fields.
            pub const FIELDS: &[Field] = &[$(Field {
                name: stringify!($name),
                source: Source::$kind($($part),*),
                get: |offsets| offsets.$name,
                set: |offsets, value| offsets.$name = value,
            }),*];
        }
    };
}

offsets! {
    skc_daddr: Member("sock_common", "skc_daddr"),
    skc_rcv_saddr: Member("sock_common", "skc_rcv_saddr"),
    skc_dport: Member("sock_common", "skc_dport"),
    skc_num: Member("sock_common", "skc_num"),
    skc_family: Member("sock_common", "skc_family"),
    skc_state: Member("sock_common", "skc_state"),
    skc_bound_dev_if: Member("sock_common", "skc_bound_dev_if"),
    skc_ipv6only: Member("sock_common", "skc_ipv6only"),
    skc_ipv6only_mask: Mask("sock_common", "skc_ipv6only"),
    sk_kern_sock: Member("sock", "sk_kern_sock"),
    sk_kern_sock_mask: Mask("sock", "sk_kern_sock"),
    skc_net: Member("sock_common", "skc_net"),
    skc_v6_daddr: Member("sock_common", "skc_v6_daddr"),
    skc_v6_rcv_saddr: Member("sock_common", "skc_v6_rcv_saddr"),
    skc_flags: Member("sock_common", "skc_flags"),
    net_inum: Member("net", "ns.inum"),
    sk_err: Member("sock", "sk_err"),
    sk_err_soft: Member("sock", "sk_err_soft"),
    sk_user_data: Member("sock", "sk_user_data"),
    sk_protocol: Member("sock", "sk_protocol"),
    sk_socket: Member("sock", "sk_socket"),
    sk_max_ack_backlog: Member("sock", "sk_max_ack_backlog"),
    inet_sport: Member("inet_sock", "inet_sport"),
    bytes_acked: Member("tcp_sock", "bytes_acked"),
    bytes_received: Member("tcp_sock", "bytes_received"),
    bytes_sent: Member("tcp_sock", "bytes_sent"),
    bytes_retrans: Member("tcp_sock", "bytes_retrans"),
    snd_nxt: Member("tcp_sock", "snd_nxt"),
    snd_una: Member("tcp_sock", "snd_una"),
    write_seq: Member("tcp_sock", "write_seq"),
    total_retrans: Member("tcp_sock", "total_retrans"),
    srtt_us: Member("tcp_sock", "srtt_us"),
    chrono_start: Member("tcp_sock", "chrono_start"),
    chrono_stat: Member("tcp_sock", "chrono_stat"),
    /// Two bits up to 6.18, then a byte.
    chrono_type: Member("tcp_sock", "chrono_type"),
    chrono_type_mask: Mask("tcp_sock", "chrono_type"),
    rate_delivered: Member("tcp_sock", "rate_delivered"),
    rate_interval_us: Member("tcp_sock", "rate_interval_us"),
    mss_cache: Member("tcp_sock", "mss_cache"),
    rcv_ooopack: Member("tcp_sock", "rcv_ooopack"),
    reordering: Member("tcp_sock", "reordering"),
    dsack_dups: Member("tcp_sock", "dsack_dups"),
    min_rtt_us: Member("tcp_sock", "rtt_min.s[0].v"),
    /// A bit field in some kernels, a bool in others, absent without CONFIG_MPTCP.
    is_mptcp: Member("tcp_sock", "is_mptcp"),
    is_mptcp_mask: Mask("tcp_sock", "is_mptcp"),
    mptcp_first: Member("mptcp_sock", "first"),
    icsk_ulp_data: Member("inet_connection_sock", "icsk_ulp_data"),
    subflow_conn: Member("mptcp_subflow_context", "conn"),
    /// The byte of `request_join` and `mp_join`, and the bits of both in it.
    subflow_join: Other("mptcp_subflow_context.mp_join"),
    subflow_join_mask: Other("mptcp_subflow_context.mp_join"),
    tsorted_sent_queue: Member("tcp_sock", "tsorted_sent_queue"),
    /// From the start of `struct socket`.
    socket_inode: Beyond("socket_alloc", "vfs_inode", "inode", "i_ino"),
    socket_state: Member("socket", "state"),
    socket_sk: Member("socket", "sk"),
    task_group_leader: Member("task_struct", "group_leader"),
    /// 5.5 renamed it (cf25e24db61c).
    task_start_boottime: Either("task_struct", "start_boottime", "real_start_time"),
    task_files: Member("task_struct", "files"),
    task_tgid: Member("task_struct", "tgid"),
    task_pid: Member("task_struct", "pid"),
    task_thread_pid: Member("task_struct", "thread_pid"),
    pid_level: Member("pid", "level"),
    pid_number: Member("pid", "numbers[0].nr"),
    pid_ns: Member("pid", "numbers[0].ns"),
    pid_ns_inum: Member("pid_namespace", "ns.inum"),
    task_flags: Member("task_struct", "flags"),
    task_mm: Member("task_struct", "mm"),
    files_fdt: Member("files_struct", "fdt"),
    fdt_fd: Member("fdtable", "fd"),
    fdt_max_fds: Member("fdtable", "max_fds"),
    file_private_data: Member("file", "private_data"),
    socket_file: Member("socket", "file"),
    task_signal: Member("task_struct", "signal"),
    signal_live: Member("signal_struct", "live.counter"),
    state_format_skaddr: Format("sock", "inet_sock_set_state", "skaddr"),
    state_format_oldstate: Format("sock", "inet_sock_set_state", "oldstate"),
    state_format_newstate: Format("sock", "inet_sock_set_state", "newstate"),
    state_format_sport: Format("sock", "inet_sock_set_state", "sport"),
    state_format_dport: Format("sock", "inet_sock_set_state", "dport"),
    state_format_family: Format("sock", "inet_sock_set_state", "family"),
    state_format_protocol: Format("sock", "inet_sock_set_state", "protocol"),
    state_format_saddr: Format("sock", "inet_sock_set_state", "saddr"),
    state_format_daddr: Format("sock", "inet_sock_set_state", "daddr"),
    state_format_saddr_v6: Format("sock", "inet_sock_set_state", "saddr_v6"),
    state_format_daddr_v6: Format("sock", "inet_sock_set_state", "daddr_v6"),
    destroy_format_skaddr: Format("tcp", "tcp_destroy_sock", "skaddr"),
    binprm_filename: Member("linux_binprm", "filename"),
    task_comm: Member("task_struct", "comm"),
    task_cred: Member("task_struct", "cred"),
    cred_euid: Member("cred", "euid"),
    mm_arg_start: Member("mm_struct", "arg_start"),
    mm_arg_end: Member("mm_struct", "arg_end"),
    /// The end of the addresses of a process.
    mm_task_size: IfAny(&[("mm_struct", "task_size")]),
    io_opcode: Member("io_kiocb", "opcode"),
    io_file: Member("io_kiocb", "file"),
    io_cqe_res: Member("io_uring_cqe", "res"),
    io_connect_addr: Member("io_connect", "addr"),
    io_connect_in_progress: Member("io_connect", "in_progress"),
    sock_done_bit: Enumerator("sock_flags", "SOCK_DONE"),
    /// 4 up to 6.9, 2 from 6.10.
    accept_args: Parameters("inet_csk_accept"),
    file_inode: Member("file", "f_inode"),
    inode_mode: Member("inode", "i_mode"),
    inode_ino: Member("inode", "i_ino"),
    tw_substate: Member("inet_timewait_sock", "tw_substate"),
    rcv_nxt: Member("tcp_sock", "rcv_nxt"),
    copied_seq: Member("tcp_sock", "copied_seq"),
    /// The third argument is a `struct io_uring_cqe *` (1) or the result (0).
    io_complete_has_cqe: Other("io_uring_complete(req)"),
    /// 5.11 (3ca1032ab7ab). Without it tasks are read by address: slower, without any loss.
    task_btf: Helper("BPF_FUNC_get_current_task_btf"),
    sys_exit_ret: Format("syscalls", "sys_exit_accept4", "ret"),
    sys_enter_args: Format("syscalls", "sys_enter_connect", "fd"),
    /// x86 and arm64: the number of the system call, and its arguments as they were at its entry.
    regs_syscall: IfAny(&[("pt_regs", "orig_ax"), ("pt_regs", "syscallno")]),
    regs_first: IfAny(&[("pt_regs", "di"), ("pt_regs", "orig_x0")]),
    regs_second: IfAny(&[("pt_regs", "si"), ("pt_regs", "regs[1]")]),
    /// The arguments of a 32-bit system call. x86 only, as the two below.
    regs_compat_first: IfAny(&[("pt_regs", "bx")]),
    regs_compat_second: IfAny(&[("pt_regs", "cx")]),
    task_pt_regs: Helper("BPF_FUNC_task_pt_regs"),
    /// Shows a 32-bit system call under way.
    thread_status: IfAny(&[("task_struct", "thread_info.status")]),
    tcp_repair: Member("tcp_sock", "repair"),
    tcp_repair_mask: Mask("tcp_sock", "repair"),
    skb_head: Member("sk_buff", "head"),
    skb_data: Member("sk_buff", "data"),
    /// An offset from `head`.
    skb_tail: Member("sk_buff", "tail"),
    skb_len: Member("sk_buff", "len"),
    skb_network_header: Member("sk_buff", "network_header"),
    skb_transport_header: Member("sk_buff", "transport_header"),
    skb_protocol: Member("sk_buff", "protocol"),
    skb_dev: Member("sk_buff", "dev"),
    skb_sk: Member("sk_buff", "sk"),
    skb_iif: Member("sk_buff", "skb_iif"),
    skb_refdst: Member("sk_buff", "_skb_refdst"),
    /// From the start of `struct sk_buff`, as those below.
    skb_tcp_seq: Beyond("sk_buff", "cb", "tcp_skb_cb", "seq"),
    skb_tcp_end_seq: Beyond("sk_buff", "cb", "tcp_skb_cb", "end_seq"),
    skb_tcp_flags: Beyond("sk_buff", "cb", "tcp_skb_cb", "tcp_flags"),
    dev_ifindex: Member("net_device", "ifindex"),
    dev_name: Member("net_device", "name"),
    dev_net: Member("net_device", "nd_net.net"),
    dst_flags: Member("dst_entry", "flags"),
    rt_type: Member("rtable", "rt_type"),
    rt6_flags: Member("rt6_info", "rt6i_flags"),
    skc_listener: Member("sock_common", "skc_listener"),
    request_isn: Member("tcp_request_sock", "snt_isn"),
    icsk_ca_state: IfAny(&[("inet_connection_sock", "icsk_ca_state")]),
    icsk_ca_state_mask: Mask("inet_connection_sock", "icsk_ca_state"),
    /// 2, 3 with a reason, 4 with `rx_sk`.
    kfree_skb_args: Arguments("btf_trace_kfree_skb"),
    /// 2, 3 with a reason.
    send_reset_args: Arguments("btf_trace_tcp_send_reset"),
    kfree_format_skbaddr: Format("skb", "kfree_skb", "skbaddr"),
    kfree_format_location: Format("skb", "kfree_skb", "location"),
    kfree_format_rx_sk: Format("skb", "kfree_skb", "rx_sk"),
    kfree_format_reason: Format("skb", "kfree_skb", "reason"),
    send_reset_format_skbaddr: Format("tcp", "tcp_send_reset", "skbaddr"),
    send_reset_format_skaddr: Format("tcp", "tcp_send_reset", "skaddr"),
    send_reset_format_reason: Format("tcp", "tcp_send_reset", "reason"),
    receive_reset_format_skaddr: Format("tcp", "tcp_receive_reset", "skaddr"),
    retransmit_format_skbaddr: Format("tcp", "tcp_retransmit_skb", "skbaddr"),
    retransmit_format_skaddr: Format("tcp", "tcp_retransmit_skb", "skaddr"),
    synack_format_skaddr: Format("tcp", "tcp_retransmit_synack", "skaddr"),
    synack_format_req: Format("tcp", "tcp_retransmit_synack", "req"),
    lsndtime: Member("tcp_sock", "lsndtime"),
    lrcvtime: Member("inet_connection_sock", "icsk_ack.lrcvtime"),
    tcp_clock_cache: Member("tcp_sock", "tcp_clock_cache"),
    tcp_wstamp_ns: Member("tcp_sock", "tcp_wstamp_ns"),
    icsk_rto: Member("inet_connection_sock", "icsk_rto"),
    icsk_retransmits: Member("inet_connection_sock", "icsk_retransmits"),
    sk_lock_owned: Member("sock", "sk_lock.owned"),
    sk_error_queue_prev: Member("sock", "sk_error_queue.prev"),
    sk_error_queue_qlen: Member("sock", "sk_error_queue.qlen"),
    skb_exterr: Beyond("sk_buff", "cb", "sock_exterr_skb", "ee"),
}

const _: () = assert!(size_of::<Offsets>().is_multiple_of(4));
