//! `iter/task_file`: every file of every process, and of the threads with a file table of their own
//! (`task_seq_get_next` skips the others).

use aya_ebpf::helpers::generated::bpf_sock_from_file;
use tracer_common::{iterator::HolderRecord, settings::ABSENT};

use super::{Meta, Record, load};
use crate::{memory, offset, store};

/// `S_IFMT` and `S_IFSOCK`
pub(super) const FORMAT: u16 = 0o170_000;
pub(super) const SOCKET: u16 = 0o140_000;

#[repr(C)]
pub struct Context {
    meta: *const Meta,
    task: *const u8,
    fd: u64,
    file: *const u8,
}

/// The helper compares the file's operations, which lie beside the pointers read so far. The program
/// reads nothing else of a file that is no socket, and only the inode's number of a socket.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub unsafe extern "C" fn iter_task_file(ctx: *const Context) -> i32 {
    // SAFETY: the file is not null and of the type that the helper takes.
    tell(ctx, |file| unsafe { !bpf_sock_from_file(file.cast_mut().cast()).is_null() })
}

/// Kernels before 5.11 (4f19cab76136) have no such helper: the inode's mode decides, if the inode lies
/// beside the file's socket. The file of a socket's path opened with `O_PATH` has an inode of a file
/// system instead.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file_mode")]
pub unsafe extern "C" fn iter_task_file_mode(ctx: *const Context) -> i32 {
    tell(ctx, |file| {
        let file = file as u64;
        let socket: u64 = memory::read(file, offset!(file_private_data));
        let inode: u64 = memory::read(file, offset!(file_inode));
        let mode: u16 = memory::read(inode, offset!(inode_mode));
        mode & FORMAT == SOCKET && socket + u64::from(offset!(socket_inode)) == inode + u64::from(offset!(inode_ino))
    })
}

#[inline(always)]
fn tell(ctx: *const Context, is_socket: impl Fn(*const u8) -> bool) -> i32 {
    // SAFETY: the kernel's context; both pointers are null at the end.
    let (meta, task, file) = unsafe { ((*ctx).meta, (*ctx).task, (*ctx).file) };
    if task.is_null() || file.is_null() || offset!(file_inode) == ABSENT || offset!(inode_ino) == ABSENT {
        return 0;
    }
    if !is_socket(file) {
        return 0;
    }
    // SAFETY: neither is null; the offsets are from this kernel's BTF.
    unsafe {
        let inode: *const u8 = load(file, offset!(file_inode));
        let mut record = Record::<HolderRecord>::new();
        let place = record.place();
        store!(place, inode, load(inode, offset!(inode_ino)));
        store!(place, pid, load(task, offset!(task_tgid)));
        store!(place, reserved, 0);
        record.write((*meta).seq);
    }
    0
}
