//! From a file descriptor of the current task to the socket behind it.

use aya_ebpf::helpers::generated::bpf_get_current_task;

use crate::{memory, offset};

/// Protocol number of an MPTCP socket, `IPPROTO_MPTCP`.
const IPPROTO_MPTCP: u16 = 262;

/// A `struct socket`.
#[derive(Clone, Copy)]
pub struct Socket(pub u64);

/// The socket that `fd` of the current task refers to.
///
/// `current->files->fdt->fd[fd]->private_data`, read without locks: the result is believed only if
/// the socket points back at the file.
#[inline(always)]
pub fn socket(fd: u32) -> Option<Socket> {
    // SAFETY: no arguments; permitted in all program types used here.
    let task = unsafe { bpf_get_current_task() };
    let files: u64 = memory::read(task, offset!(task_files));
    let table: u64 = memory::read(files, offset!(files_fdt));
    let size: u32 = memory::read(table, offset!(fdt_max_fds));
    if fd >= size {
        return None;
    }
    let slots: u64 = memory::read(table, offset!(fdt_fd));
    let file: u64 = memory::read(slots + u64::from(fd) * 8, 0);
    of_file(file)
}

/// The socket behind a `struct file`.
#[inline(always)]
pub fn of_file(file: u64) -> Option<Socket> {
    let socket: u64 = memory::read(file, offset!(file_private_data));
    let back: u64 = memory::read(socket, offset!(socket_file));
    if socket == 0 || back != file { None } else { Some(Socket(socket)) }
}

impl Socket {
    /// `socket->state`: 1 is `SS_UNCONNECTED`.
    #[inline(always)]
    pub fn state(self) -> u32 {
        memory::read(self.0, offset!(socket_state))
    }

    /// The `struct sock` that carries TCP: the first subflow where the socket is an MPTCP one.
    #[inline(always)]
    pub fn tcp(self) -> u64 {
        let sk: u64 = memory::read(self.0, offset!(socket_sk));
        if memory::read::<u16>(sk, offset!(sk_protocol)) == IPPROTO_MPTCP {
            return memory::read(sk, offset!(mptcp_first));
        }
        sk
    }
}
