//! The kernel structures that a link has to know. Without them the programs would load and attach and see nothing: such
//! a link is refused, so that the next one serves, or none.

use tracer_common::settings::{ABSENT, Offsets};

use super::{Backend, Hook};

/// The reason why the link `backend` of `hook` would be blind here; `None` if it sees.
#[must_use]
pub fn blind(hook: Hook, backend: Backend, offsets: &Offsets) -> Option<String> {
    let missing = needs(hook, backend).iter().copied().flatten().find(|(_, offset)| offset(offsets) == ABSENT);
    missing.map(|(name, _)| format!("it needs the offset of {name}, which is not known here"))
}

type Needs = &'static [(&'static str, fn(&Offsets) -> u32)];

macro_rules! fields {
    ($($field:ident: $name:literal),* $(,)?) => { &[$(($name, |offsets| offsets.$field)),*] };
}

/// Distinguishes a TCP socket from others by its address alone.
const SOCK: Needs = fields! {
    skc_family: "sock_common.skc_family",
    skc_dport: "sock_common.skc_dport",
    skc_daddr: "sock_common.skc_daddr",
    skc_rcv_saddr: "sock_common.skc_rcv_saddr",
    sk_protocol: "sock.sk_protocol",
};
const SK_ERR: Needs = fields! { sk_err: "sock.sk_err" };
/// Leads from a file descriptor to its socket.
const FD: Needs = fields! {
    task_files: "task_struct.files",
    files_fdt: "files_struct.fdt",
    fdt_fd: "fdtable.fd",
    fdt_max_fds: "fdtable.max_fds",
    file_private_data: "file.private_data",
    socket_file: "socket.file",
    socket_sk: "socket.sk",
};
const SYSCALL_EXIT: Needs = fields! { sys_exit_ret: "ret in syscalls:sys_exit_accept4" };
const SYSCALL_ENTER: Needs = fields! {
    sys_enter_args: "fd in syscalls:sys_enter_connect",
    socket_state: "socket.state",
};
const STATE_FORMAT: Needs = fields! {
    state_format_skaddr: "skaddr in sock:inet_sock_set_state",
    state_format_oldstate: "oldstate in sock:inet_sock_set_state",
    state_format_newstate: "newstate in sock:inet_sock_set_state",
    state_format_family: "family in sock:inet_sock_set_state",
    state_format_protocol: "protocol in sock:inet_sock_set_state",
    state_format_sport: "sport in sock:inet_sock_set_state",
    state_format_dport: "dport in sock:inet_sock_set_state",
    state_format_saddr: "saddr in sock:inet_sock_set_state",
    state_format_daddr: "daddr in sock:inet_sock_set_state",
};
const DESTROY_FORMAT: Needs = fields! { destroy_format_skaddr: "skaddr in tcp:tcp_destroy_sock" };
const IO_URING: Needs = fields! { io_opcode: "io_kiocb.opcode", io_file: "io_kiocb.file" };
/// The arguments of a system call when it returns.
const ARGUMENTS: Needs = fields! {
    task_pt_regs: "bpf_task_pt_regs()",
    task_btf: "bpf_get_current_task_btf()",
    regs_first: "the first argument in pt_regs",
    regs_second: "the second argument in pt_regs",
};
const USER_DATA: Needs = fields! { sk_user_data: "sock.sk_user_data" };
const COMPAT: Needs = fields! {
    thread_status: "thread_info.status",
    regs_syscall: "the number of the call in pt_regs",
    regs_compat_first: "pt_regs.bx",
    regs_compat_second: "pt_regs.cx",
};
/// Reads a packet by its address.
const SKB: Needs = fields! {
    skb_head: "sk_buff.head",
    skb_network_header: "sk_buff.network_header",
    skb_protocol: "sk_buff.protocol",
    skb_len: "sk_buff.len",
};
const KFREE_FORMAT: Needs = fields! {
    kfree_format_skbaddr: "skbaddr in skb:kfree_skb",
    kfree_format_location: "location in skb:kfree_skb",
};
const RETRANSMIT_FORMAT: Needs = fields! {
    retransmit_format_skaddr: "skaddr in tcp:tcp_retransmit_skb",
    retransmit_format_skbaddr: "skbaddr in tcp:tcp_retransmit_skb",
};
const SYNACK_FORMAT: Needs = fields! {
    synack_format_skaddr: "skaddr in tcp:tcp_retransmit_synack",
    synack_format_req: "req in tcp:tcp_retransmit_synack",
};
const SEND_RESET_FORMAT: Needs = fields! {
    send_reset_format_skaddr: "skaddr in tcp:tcp_send_reset",
    send_reset_format_skbaddr: "skbaddr in tcp:tcp_send_reset",
};
const RECEIVE_RESET_FORMAT: Needs = fields! { receive_reset_format_skaddr: "skaddr in tcp:tcp_receive_reset" };
/// Without them a process would show as number 0.
const TASK: Needs = fields! {
    task_tgid: "task_struct.tgid",
    task_pid: "task_struct.pid",
    task_group_leader: "task_struct.group_leader",
    task_start_boottime: "task_struct.start_boottime",
    task_signal: "task_struct.signal",
    signal_live: "signal_struct.live",
};

const fn needs(hook: Hook, backend: Backend) -> &'static [Needs] {
    match (hook, backend) {
        (Hook::SetState, Backend::Tracepoint) => &[STATE_FORMAT],
        (Hook::Destroy, Backend::Tracepoint) => &[DESTROY_FORMAT],
        // The address of a followed socket suffices.
        (Hook::Destroy, _) | (Hook::Accept, Backend::Kprobe | Backend::Fentry) => &[],
        (Hook::Connect, Backend::Syscall) => &[FD, SYSCALL_ENTER, SYSCALL_EXIT, SOCK],
        (Hook::SetState | Hook::Connect, _) => &[SOCK],
        (Hook::ErrorReport, _) => &[SOCK, SK_ERR],
        (Hook::Accept, _) => &[FD, SYSCALL_EXIT, SOCK],
        (Hook::IoUring, _) => &[IO_URING, FD, SOCK],
        (Hook::Bind | Hook::Listen, Backend::Fentry) | (Hook::Listen, Backend::Kprobe) => &[FD, SOCK],
        (Hook::AcceptFailure, Backend::Fentry) => &[FD, SOCK],
        (Hook::AcceptFailure | Hook::Bind, Backend::Kprobe) => &[FD, SOCK, ARGUMENTS],
        (Hook::AcceptFailure | Hook::Bind, _) => &[FD, SOCK, ARGUMENTS, SYSCALL_EXIT],
        (Hook::Sockmap, Backend::Syscall) => &[FD, SOCK, ARGUMENTS, SYSCALL_EXIT, USER_DATA],
        (Hook::Sockmap, _) => &[],
        (Hook::Listen, _) => &[FD, SOCK, SYSCALL_ENTER, SYSCALL_EXIT],
        (Hook::Compat, _) => &[FD, SOCK, COMPAT],
        (Hook::Processes, _) => &[TASK],
        (Hook::Drop, Backend::Tracepoint) => &[KFREE_FORMAT, SKB],
        (Hook::Drop, _) => &[SKB],
        (Hook::Retransmit, Backend::Tracepoint) => &[RETRANSMIT_FORMAT, SOCK],
        (Hook::RetransmitSynAck, Backend::Tracepoint) => &[SYNACK_FORMAT, SOCK],
        (Hook::SendReset, Backend::Tracepoint) => &[SEND_RESET_FORMAT, SOCK],
        (Hook::ReceiveReset, Backend::Tracepoint) => &[RECEIVE_RESET_FORMAT, SOCK],
        (Hook::Retransmit | Hook::RetransmitSynAck | Hook::SendReset | Hook::ReceiveReset, _) => &[SOCK],
        (Hook::SendResetForNobody, _) => &[SKB],
    }
}
