//! The offsets that links have to know. Shared ones stand here, the others in the hook's file.

use tracer_common::offsets::Offsets;

/// A field of [`Offsets`] that has to be known.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// Its name.
    pub field: &'static str,
    /// Reads it.
    pub offset: fn(&Offsets) -> u32,
}

/// Lists fields of [`Offsets`].
macro_rules! needs {
    ($($field:ident),* $(,)?) => {
        &[$(Need { field: stringify!($field), offset: |offsets| offsets.$field }),*]
    };
}
pub(super) use needs;

/// Distinguishes a TCP socket from others by its address alone.
pub const SOCK: &[Need] = needs![skc_family, skc_dport, skc_daddr, skc_rcv_saddr, sk_protocol];

/// Leads from a file descriptor to its socket.
pub const FD: &[Need] = needs![task_files, files_fdt, fdt_fd, fdt_max_fds, file_private_data, socket_file, socket_sk];

pub const SYSCALL_EXIT: &[Need] = needs![sys_exit_ret];

pub const SYSCALL_ENTER: &[Need] = needs![sys_enter_args, socket_state];

/// The arguments of a system call when it returns.
pub const ARGUMENTS: &[Need] = needs![task_pt_regs, task_btf, regs_first, regs_second];

/// Reads a packet by its address.
pub const SKB: &[Need] = needs![skb_head, skb_network_header, skb_protocol, skb_len];
