//! Fills [`Offsets`] from the running kernel, and names the missing ones.
//!
//! This file has all differences between kernels: renamed members, and members that came and went. It has no table of
//! numbers.

use tracer_common::settings::{ABSENT, Offsets};

use super::{
    btf::Btf,
    format::{Format, Tracefs},
};

/// The names that [`Btf`] has to index for [`resolve`].
pub const WANTED: &[&str] = &[
    "sock_common",
    "net",
    "sock",
    "inet_sock",
    "inet_timewait_sock",
    "tcp_sock",
    "mptcp_sock",
    "mptcp_subflow_context",
    "socket_alloc",
    "inode",
    "socket",
    "task_struct",
    "signal_struct",
    "pid",
    "pid_namespace",
    "cred",
    "files_struct",
    "fdtable",
    "file",
    "linux_binprm",
    "mm_struct",
    "io_kiocb",
    "io_uring_cqe",
    "io_connect",
    "bpf_mem_alloc",
    "class_srcu_fast_notrace_t",
    "pt_regs",
    "sock_flags",
    "inet_csk_accept",
    "btf_trace_io_uring_complete",
    "bpf_func_id",
    "sk_buff",
    "sock_exterr_skb",
    "tcp_skb_cb",
    "net_device",
    "dst_entry",
    "rtable",
    "rt6_info",
    "tcp_request_sock",
    "inet_connection_sock",
    "btf_trace_kfree_skb",
    "btf_trace_tcp_send_reset",
    "skb_drop_reason",
    "skb_drop_reason_subsys",
    "mac80211_drop_reason",
    "ovs_drop_reason",
    "qdisc_drop_reason",
    "sk_rst_reason",
];

/// The offsets, and the members that this kernel lacks (`structure.member`).
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The offsets for the object.
    pub offsets: Offsets,
    /// The members that were not found.
    pub missing: Vec<String>,
    /// Hash maps may be allocated on demand from tracing programs.
    pub maps_on_demand: bool,
    /// See `Settings::tracepoints_preemptible`.
    pub tracepoints_preemptible: bool,
}

/// The loss on a kernel without `member` (one of [`Resolved::missing`]).
#[must_use]
pub fn cost_of(member: &str) -> &'static str {
    match member {
        // Before 5.6, and without its configuration option.
        "mptcp_sock.first" | "tcp_sock.is_mptcp" => {
            "nothing, if this kernel has no MPTCP: else its subflows have no owner"
        }
        "mptcp_subflow_context.conn" | "mptcp_subflow_context.mp_join" | "inet_connection_sock.icsk_ulp_data" => {
            "nothing, if this kernel has no MPTCP: else its further subflows have no owner"
        }
        "tcp_sock.tsorted_sent_queue" => "by which of several listeners of one port a connection came in",
        // Before 5.19.
        "io_connect.in_progress" | "io_uring_complete(req)" => {
            "who accepts through io_uring (the listener's owner stays), and why connect() through it fails without a SYN"
        }
        _ => "the value read there shows as unknown",
    }
}

/// Looks everything up. Without BTF only the contents of the `format` files are known.
#[must_use]
pub fn resolve(btf: Option<&Btf>, tracefs: Option<&Tracefs>) -> Resolved {
    let mut resolved =
        Resolved { offsets: Offsets::NONE, missing: Vec::new(), maps_on_demand: false, tracepoints_preemptible: false };
    if let Some(btf) = btf {
        from_btf(btf, &mut resolved);
        // Before 6.1 (commit fba1a1c6c912 and those around it) the verifier warns in the kernel's log of maps that grow
        // in a tracing program, and they could deadlock.
        resolved.maps_on_demand = btf.has("bpf_mem_alloc");
        // 7.0 guards the calls of a tracepoint's programs by SRCU instead of disabling preemption
        // (include/linux/tracepoint.h); the guard has a type of its own.
        resolved.tracepoints_preemptible = btf.has("class_srcu_fast_notrace_t");
    }
    if let Some(tracefs) = tracefs {
        from_formats(|category, name| tracefs.format(category, name).ok().flatten(), &mut resolved.offsets);
    }
    resolved
}

/// The first difference between `file` and `kernel`, the running kernel's own types: name, offset there, offset here.
/// An offset that the file lacks is no difference.
#[must_use]
pub fn contradiction(file: &Btf, kernel: &Btf) -> Option<(&'static str, u32, u32)> {
    let (file, kernel) = (resolve(Some(file), None).offsets, resolve(Some(kernel), None).offsets);
    file.named()
        .zip(kernel.named())
        .map(|((name, there), (_, here))| (name, there, here))
        .find(|(_, there, here)| *there != ABSENT && there != here)
}

fn from_btf(btf: &Btf, resolved: &mut Resolved) {
    let Resolved { offsets, missing, .. } = resolved;
    let mut find = |structure: &str, path: &str| match btf.member(structure, path) {
        Some(member) => member.byte_offset(),
        None => {
            missing.push(format!("{structure}.{path}"));
            ABSENT
        }
    };
    offsets.skc_daddr = find("sock_common", "skc_daddr");
    offsets.skc_rcv_saddr = find("sock_common", "skc_rcv_saddr");
    offsets.skc_dport = find("sock_common", "skc_dport");
    offsets.skc_num = find("sock_common", "skc_num");
    offsets.skc_family = find("sock_common", "skc_family");
    offsets.skc_state = find("sock_common", "skc_state");
    offsets.skc_bound_dev_if = find("sock_common", "skc_bound_dev_if");
    offsets.skc_net = find("sock_common", "skc_net");
    offsets.skc_v6_daddr = find("sock_common", "skc_v6_daddr");
    offsets.skc_v6_rcv_saddr = find("sock_common", "skc_v6_rcv_saddr");
    offsets.skc_flags = find("sock_common", "skc_flags");
    offsets.net_inum = find("net", "ns.inum");
    offsets.sk_err = find("sock", "sk_err");
    offsets.sk_err_soft = find("sock", "sk_err_soft");
    offsets.sk_user_data = find("sock", "sk_user_data");
    offsets.sk_protocol = find("sock", "sk_protocol");
    offsets.sk_socket = find("sock", "sk_socket");
    offsets.sk_ack_backlog = find("sock", "sk_ack_backlog");
    offsets.sk_max_ack_backlog = find("sock", "sk_max_ack_backlog");
    offsets.inet_sport = find("inet_sock", "inet_sport");
    offsets.bytes_acked = find("tcp_sock", "bytes_acked");
    offsets.bytes_received = find("tcp_sock", "bytes_received");
    offsets.bytes_sent = find("tcp_sock", "bytes_sent");
    offsets.bytes_retrans = find("tcp_sock", "bytes_retrans");
    offsets.snd_nxt = find("tcp_sock", "snd_nxt");
    offsets.snd_una = find("tcp_sock", "snd_una");
    offsets.write_seq = find("tcp_sock", "write_seq");
    offsets.total_retrans = find("tcp_sock", "total_retrans");
    offsets.rcv_nxt = find("tcp_sock", "rcv_nxt");
    offsets.copied_seq = find("tcp_sock", "copied_seq");
    offsets.srtt_us = find("tcp_sock", "srtt_us");
    offsets.min_rtt_us = find("tcp_sock", "rtt_min.s[0].v");
    offsets.lsndtime = find("tcp_sock", "lsndtime");
    offsets.lrcvtime = find("inet_connection_sock", "icsk_ack.lrcvtime");
    offsets.tcp_clock_cache = find("tcp_sock", "tcp_clock_cache");
    offsets.tcp_wstamp_ns = find("tcp_sock", "tcp_wstamp_ns");
    offsets.icsk_rto = find("inet_connection_sock", "icsk_rto");
    offsets.icsk_retransmits = find("inet_connection_sock", "icsk_retransmits");
    offsets.sk_lock_owned = find("sock", "sk_lock.owned");
    offsets.sk_error_queue_prev = find("sock", "sk_error_queue.prev");
    offsets.sk_error_queue_qlen = find("sock", "sk_error_queue.qlen");
    offsets.mptcp_first = find("mptcp_sock", "first");
    offsets.icsk_ulp_data = find("inet_connection_sock", "icsk_ulp_data");
    offsets.subflow_conn = find("mptcp_subflow_context", "conn");
    offsets.tsorted_sent_queue = find("tcp_sock", "tsorted_sent_queue");
    offsets.socket_inode = find("socket_alloc", "vfs_inode").saturating_add(find("inode", "i_ino"));
    offsets.file_inode = find("file", "f_inode");
    offsets.inode_mode = find("inode", "i_mode");
    offsets.inode_ino = find("inode", "i_ino");
    offsets.tw_substate = find("inet_timewait_sock", "tw_substate");
    offsets.socket_state = find("socket", "state");
    offsets.socket_sk = find("socket", "sk");
    offsets.socket_file = find("socket", "file");
    offsets.task_group_leader = find("task_struct", "group_leader");
    offsets.task_files = find("task_struct", "files");
    offsets.task_tgid = find("task_struct", "tgid");
    offsets.task_pid = find("task_struct", "pid");
    offsets.task_thread_pid = find("task_struct", "thread_pid");
    offsets.pid_level = find("pid", "level");
    offsets.pid_number = find("pid", "numbers[0].nr");
    offsets.pid_ns = find("pid", "numbers[0].ns");
    offsets.pid_ns_inum = find("pid_namespace", "ns.inum");
    offsets.task_flags = find("task_struct", "flags");
    offsets.task_mm = find("task_struct", "mm");
    offsets.task_signal = find("task_struct", "signal");
    offsets.signal_live = find("signal_struct", "live.counter");
    offsets.files_fdt = find("files_struct", "fdt");
    offsets.fdt_fd = find("fdtable", "fd");
    offsets.fdt_max_fds = find("fdtable", "max_fds");
    offsets.file_private_data = find("file", "private_data");
    offsets.task_comm = find("task_struct", "comm");
    offsets.task_cred = find("task_struct", "cred");
    offsets.cred_euid = find("cred", "euid");
    offsets.binprm_filename = find("linux_binprm", "filename");
    offsets.mm_arg_start = find("mm_struct", "arg_start");
    offsets.mm_arg_end = find("mm_struct", "arg_end");
    offsets.io_opcode = find("io_kiocb", "opcode");
    offsets.io_file = find("io_kiocb", "file");
    offsets.io_cqe_res = find("io_uring_cqe", "res");
    offsets.io_connect_addr = find("io_connect", "addr");
    offsets.io_connect_in_progress = find("io_connect", "in_progress");
    packets(btf, &mut find, offsets);

    // x86 and arm64. Only the audit asks for it.
    let number = ["orig_ax", "syscallno"].into_iter().find_map(|name| btf.member("pt_regs", name));
    offsets.regs_syscall = number.map_or(ABSENT, |member| member.byte_offset());

    let register = |names: &[&str]| {
        names.iter().find_map(|name| btf.member("pt_regs", name)).map_or(ABSENT, |member| member.byte_offset())
    };
    offsets.regs_first = register(&["di", "orig_x0"]);
    offsets.regs_second = register(&["si", "regs[1]"]);
    offsets.regs_compat_first = register(&["bx"]);
    offsets.regs_compat_second = register(&["cx"]);
    if btf.enumerator("bpf_func_id", "BPF_FUNC_task_pt_regs").is_some() {
        offsets.task_pt_regs = 1;
    }
    offsets.mm_task_size = btf.member("mm_struct", "task_size").map_or(ABSENT, |member| member.byte_offset());
    // x86 only.
    offsets.thread_status =
        btf.member("task_struct", "thread_info.status").map_or(ABSENT, |member| member.byte_offset());

    // 5.5 renamed it (cf25e24db61c).
    offsets.task_start_boottime = match btf.member("task_struct", "start_boottime") {
        Some(member) => member.byte_offset(),
        None => find("task_struct", "real_start_time"),
    };
    let mut bits = |structure: &str, path: &str| match btf.member(structure, path) {
        Some(member) => (member.byte_offset(), member.mask()),
        None => {
            missing.push(format!("{structure}.{path}"));
            (ABSENT, ABSENT)
        }
    };
    // A bit field in some kernels, a bool in others, absent without CONFIG_MPTCP.
    (offsets.is_mptcp, offsets.is_mptcp_mask) = bits("tcp_sock", "is_mptcp");
    (offsets.tcp_repair, offsets.tcp_repair_mask) = bits("tcp_sock", "repair");
    (offsets.skc_ipv6only, offsets.skc_ipv6only_mask) = bits("sock_common", "skc_ipv6only");
    (offsets.sk_kern_sock, offsets.sk_kern_sock_mask) = bits("sock", "sk_kern_sock");
    // Bit fields, next to one another in every kernel that has them.
    let join = ["request_join", "mp_join"].map(|name| btf.member("mptcp_subflow_context", name));
    match join {
        [Some(request), Some(mp)] if request.byte_offset() == mp.byte_offset() => {
            offsets.subflow_join = request.byte_offset();
            offsets.subflow_join_mask = 1 << (request.bit_offset % 8) | 1 << (mp.bit_offset % 8);
        }
        _ => missing.push("mptcp_subflow_context.mp_join".to_owned()),
    }
    match btf.enumerator("sock_flags", "SOCK_DONE").and_then(|value| u32::try_from(value).ok()) {
        Some(bit) => offsets.sock_done_bit = bit,
        None => missing.push("sock_flags.SOCK_DONE".to_owned()),
    }
    match btf.parameters("inet_csk_accept") {
        Some(count) => offsets.accept_args = count,
        None => missing.push("inet_csk_accept()".to_owned()),
    }
    // 5.11 (3ca1032ab7ab). Without it tasks are read by address: slower, without any loss.
    if btf.enumerator("bpf_func_id", "BPF_FUNC_get_current_task_btf").is_some() {
        offsets.task_btf = 1;
    }
    // (ctx, req, cqe) from 6.14; (ctx, req, user_data, res, …) from 5.19; (ctx, user_data, res, …)
    // before, which does not name the request at all.
    match btf.tracepoint_arguments("io_uring_complete").as_deref() {
        Some([_, _, "io_uring_cqe", ..]) => offsets.io_complete_has_cqe = 1,
        Some([_, _, _, _, ..]) if btf.member("io_kiocb", "cqe").is_some() => offsets.io_complete_has_cqe = 0,
        _ => missing.push("io_uring_complete(req)".to_owned()),
    }
}

/// Finds the offsets for dropped, retransmitted and reset packets.
fn packets(btf: &Btf, find: &mut impl FnMut(&str, &str) -> u32, offsets: &mut Offsets) {
    offsets.skb_head = find("sk_buff", "head");
    offsets.skb_data = find("sk_buff", "data");
    offsets.skb_tail = find("sk_buff", "tail");
    offsets.skb_len = find("sk_buff", "len");
    offsets.skb_network_header = find("sk_buff", "network_header");
    offsets.skb_transport_header = find("sk_buff", "transport_header");
    offsets.skb_protocol = find("sk_buff", "protocol");
    offsets.skb_dev = find("sk_buff", "dev");
    offsets.skb_sk = find("sk_buff", "sk");
    offsets.skb_iif = find("sk_buff", "skb_iif");
    offsets.skb_refdst = find("sk_buff", "_skb_refdst");
    let cb = find("sk_buff", "cb");
    offsets.skb_tcp_seq = cb.saturating_add(find("tcp_skb_cb", "seq"));
    offsets.skb_tcp_end_seq = cb.saturating_add(find("tcp_skb_cb", "end_seq"));
    offsets.skb_tcp_flags = cb.saturating_add(find("tcp_skb_cb", "tcp_flags"));
    offsets.skb_exterr = cb.saturating_add(find("sock_exterr_skb", "ee"));
    offsets.dev_ifindex = find("net_device", "ifindex");
    offsets.dev_name = find("net_device", "name");
    offsets.dev_net = find("net_device", "nd_net.net");
    offsets.dst_flags = find("dst_entry", "flags");
    offsets.rt_type = find("rtable", "rt_type");
    offsets.rt6_flags = find("rt6_info", "rt6i_flags");
    offsets.skc_listener = find("sock_common", "skc_listener");
    offsets.request_isn = find("tcp_request_sock", "snt_isn");
    // A bit field.
    if let Some(member) = btf.member("inet_connection_sock", "icsk_ca_state") {
        offsets.icsk_ca_state = member.byte_offset();
        offsets.icsk_ca_state_mask = member.mask();
    }
    let arguments = |tracepoint| {
        btf.tracepoint_arguments(tracepoint).and_then(|list| u32::try_from(list.len()).ok()).unwrap_or(ABSENT)
    };
    offsets.kfree_skb_args = arguments("kfree_skb");
    offsets.send_reset_args = arguments("tcp_send_reset");
}

fn from_formats(format: impl Fn(&str, &str) -> Option<Format>, offsets: &mut Offsets) {
    let set = |field: &mut u32, format: &Format, name: &str| *field = format.offset(name).unwrap_or(ABSENT);
    if let Some(state) = format("sock", "inet_sock_set_state") {
        set(&mut offsets.state_format_skaddr, &state, "skaddr");
        set(&mut offsets.state_format_oldstate, &state, "oldstate");
        set(&mut offsets.state_format_newstate, &state, "newstate");
        set(&mut offsets.state_format_sport, &state, "sport");
        set(&mut offsets.state_format_dport, &state, "dport");
        set(&mut offsets.state_format_family, &state, "family");
        set(&mut offsets.state_format_protocol, &state, "protocol");
        set(&mut offsets.state_format_saddr, &state, "saddr");
        set(&mut offsets.state_format_daddr, &state, "daddr");
        set(&mut offsets.state_format_saddr_v6, &state, "saddr_v6");
        set(&mut offsets.state_format_daddr_v6, &state, "daddr_v6");
    }
    if let Some(destroy) = format("tcp", "tcp_destroy_sock") {
        set(&mut offsets.destroy_format_skaddr, &destroy, "skaddr");
    }
    if let Some(kfree) = format("skb", "kfree_skb") {
        set(&mut offsets.kfree_format_skbaddr, &kfree, "skbaddr");
        set(&mut offsets.kfree_format_location, &kfree, "location");
        set(&mut offsets.kfree_format_rx_sk, &kfree, "rx_sk");
        set(&mut offsets.kfree_format_reason, &kfree, "reason");
    }
    if let Some(reset) = format("tcp", "tcp_send_reset") {
        set(&mut offsets.send_reset_format_skbaddr, &reset, "skbaddr");
        set(&mut offsets.send_reset_format_skaddr, &reset, "skaddr");
        set(&mut offsets.send_reset_format_reason, &reset, "reason");
    }
    if let Some(reset) = format("tcp", "tcp_receive_reset") {
        set(&mut offsets.receive_reset_format_skaddr, &reset, "skaddr");
    }
    if let Some(retransmit) = format("tcp", "tcp_retransmit_skb") {
        set(&mut offsets.retransmit_format_skbaddr, &retransmit, "skbaddr");
        set(&mut offsets.retransmit_format_skaddr, &retransmit, "skaddr");
    }
    if let Some(synack) = format("tcp", "tcp_retransmit_synack") {
        set(&mut offsets.synack_format_skaddr, &synack, "skaddr");
        set(&mut offsets.synack_format_req, &synack, "req");
    }
    if let Some(exit) = format("syscalls", "sys_exit_accept4") {
        set(&mut offsets.sys_exit_ret, &exit, "ret");
    }
    if let Some(enter) = format("syscalls", "sys_enter_connect") {
        set(&mut offsets.sys_enter_args, &enter, "fd");
    }
}
