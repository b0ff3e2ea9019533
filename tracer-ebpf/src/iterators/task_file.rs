//! `iter/task_file`: every file of every process, and of the threads whose file table is their own
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

/// The kernel asks the file's operations, which lie beside what led to the file: nothing else of a
/// file that is no socket has to be looked at, and of a socket only the number of its inode.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub unsafe extern "C" fn iter_task_file(ctx: *const Context) -> i32 {
    // SAFETY: the file is not null and of the type that the helper takes.
    tell(ctx, |file| unsafe { !bpf_sock_from_file(file.cast_mut().cast()).is_null() })
}

/// Before 5.11 (4f19cab76136) there is no such helper: the inode's mode tells, where the inode is the
/// one beside the socket that the file has. A path to a socket that was opened with `O_PATH` has one of a
/// file system.
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
    // SAFETY: the context that the kernel gives; both pointers are null at the end.
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
