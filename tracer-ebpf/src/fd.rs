//! Finds the socket behind a file descriptor of the current task.

use crate::{
    memory::{self, Window},
    offset,
    sock::IPPROTO_TCP,
    task::Current,
};

/// Protocol number of an MPTCP socket, `IPPROTO_MPTCP`.
const IPPROTO_MPTCP: u16 = 262;

/// The beginning of a `struct socket`.
#[derive(Clone, Copy)]
pub struct Socket(Window<4>);

/// Returns the socket behind `fd` of the current task.
///
/// Reads `current->files->fdt->fd[fd]->private_data` without locks: the result counts only if the
/// socket points back at the file.
#[inline(always)]
pub fn socket(fd: u32) -> Option<Socket> {
    let files = Current::get().pointer(offset!(task_files));
    let table = Window::<2>::read(memory::read(files, offset!(files_fdt)));
    if fd >= table.get(offset!(fdt_max_fds)) {
        return None;
    }
    let slots: u64 = table.get(offset!(fdt_fd));
    let file: u64 = memory::read(slots + u64::from(fd) * 8, 0);
    of_file(file)
}

/// Returns the socket behind a `struct file`.
#[inline(always)]
pub fn of_file(file: u64) -> Option<Socket> {
    let socket: u64 = memory::read(file, offset!(file_private_data));
    if socket == 0 {
        return None;
    }
    let window = Window::read(socket);
    if window.get::<u64>(offset!(socket_file)) != file { None } else { Some(Socket(window)) }
}

impl Socket {
    /// Returns `socket->state`: 1 is `SS_UNCONNECTED`.
    #[inline(always)]
    pub fn state(&self) -> u32 {
        self.0.get(offset!(socket_state))
    }

    /// Returns the `struct sock` that carries TCP: the first subflow of an MPTCP socket.
    #[inline(always)]
    pub fn tcp(&self) -> u64 {
        let sk: u64 = self.0.get(offset!(socket_sk));
        if memory::read::<u16>(sk, offset!(sk_protocol)) == IPPROTO_MPTCP {
            return memory::read(sk, offset!(mptcp_first));
        }
        sk
    }

    /// As [`Socket::tcp`], if its protocol is TCP: the file belonged to a socket, and the family does not matter.
    #[inline(always)]
    pub fn only_tcp(&self) -> Option<u64> {
        let mut sk: u64 = self.0.get(offset!(socket_sk));
        let mut protocol: u16 = memory::read(sk, offset!(sk_protocol));
        if protocol == IPPROTO_MPTCP {
            sk = memory::read(sk, offset!(mptcp_first));
            protocol = memory::read(sk, offset!(sk_protocol));
        }
        if protocol == IPPROTO_TCP { Some(sk) } else { None }
    }
}
