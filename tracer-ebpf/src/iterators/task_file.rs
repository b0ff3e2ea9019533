//! `iter/task_file`: every file of every process, and of the threads whose file table is their own
//! (`task_seq_get_next` skips the others).

use tracer_common::{iterator::HolderRecord, settings::ABSENT};

use super::{Meta, Record, load};
use crate::{offset, store};

/// `S_IFMT` and `S_IFSOCK`
const FORMAT: u16 = 0o170_000;
const SOCKET: u16 = 0o140_000;

#[repr(C)]
pub struct Context {
    meta: *const Meta,
    task: *const u8,
    fd: u64,
    file: *const u8,
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub unsafe extern "C" fn iter_task_file(ctx: *const Context) -> i32 {
    // SAFETY: the context that the kernel gives; both pointers are null at the end.
    let (meta, task, file) = unsafe { ((*ctx).meta, (*ctx).task, (*ctx).file) };
    if task.is_null() || file.is_null() || offset!(file_inode) == ABSENT || offset!(inode_ino) == ABSENT {
        return 0;
    }
    // SAFETY: neither is null; the offsets are from this kernel's BTF.
    unsafe {
        let inode: *const u8 = load(file, offset!(file_inode));
        if load::<u16>(inode, offset!(inode_mode)) & FORMAT != SOCKET {
            return 0;
        }
        let mut record = Record::<HolderRecord>::new();
        let place = record.place();
        store!(place, inode, load(inode, offset!(inode_ino)));
        store!(place, pid, load(task, offset!(task_tgid)));
        store!(place, reserved, 0);
        record.write(meta);
    }
    0
}
