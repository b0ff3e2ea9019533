//! `iter/task`: the sockets in the file table of every process, and of the threads whose table is
//! their own.
//!
//! `iter/task_file` takes a reference to every file before it shows it: that is an atomic operation on
//! memory that no cache has, and the processor waits for it before it looks at the next file. Here
//! nothing is taken and nothing is locked. So what was read is believed only if the file still is
//! in its place afterwards, and the table still is the process's: else the reader is told.

use core::ffi::c_void;
use core::mem::MaybeUninit;

use aya_ebpf::bindings::seq_file;
use aya_ebpf::helpers::generated::{bpf_loop, bpf_seq_write};
use tracer_common::settings::ABSENT;

use super::Meta;
use super::task_file::{FORMAT, SOCKET};
use crate::{memory, offset, store};

#[repr(C)]
pub struct Context {
    meta: *const Meta,
    task: *const u8,
}

/// What the loop over a table knows.
#[repr(C)]
struct Walk {
    seq: *mut seq_file,
    /// Address of the first slot.
    slots: u64,
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub unsafe extern "C" fn iter_task(ctx: *const Context) -> i32 {
    // SAFETY: the context that the kernel gives; the task is null at the end.
    let (meta, task) = unsafe { ((*ctx).meta, (*ctx).task) };
    if task.is_null()
        || offset!(task_files) == ABSENT
        || offset!(files_fdt) == ABSENT
        || offset!(fdt_fd) == ABSENT
        || offset!(file_inode) == ABSENT
        || offset!(inode_ino) == ABSENT
    {
        return 0;
    }
    // By address: where a pointer is loaded directly, the verifier searches all types of the kernel for
    // the name of one that would say whether it may be trusted (`btf_nested_type_is_trusted`), and
    // that takes longer than all the rest.
    let task = task as u64;
    let files: u64 = memory::read(task, offset!(task_files));
    if files == 0 {
        return 0;
    }
    let pid: u32 = memory::read(task, offset!(task_tgid));
    if memory::read::<u32>(task, offset!(task_pid)) != pid {
        let leader: u64 = memory::read(task, offset!(task_group_leader));
        if memory::read::<u64>(leader, offset!(task_files)) == files {
            return 0;
        }
    }
    let table: u64 = memory::read(files, offset!(files_fdt));
    let count: u32 = memory::read(table, offset!(fdt_max_fds));
    // SAFETY: the context is the kernel's; every field of `walk` is stored.
    unsafe {
        let seq = (*meta).seq;
        tell(seq, 0);
        tell(seq, pid);
        let mut walk = MaybeUninit::<Walk>::uninit();
        let place = walk.as_mut_ptr();
        store!(place, seq, seq);
        store!(place, slots, memory::read(table, offset!(fdt_fd)));
        let looked_at = bpf_loop(count, slot as *mut c_void, place.cast(), 0);
        // The process ended, or its table grew, while it was read.
        let is_same = memory::read::<u64>(task, offset!(task_files)) == files
            && memory::read::<u64>(files, offset!(files_fdt)) == table;
        if !is_same || looked_at != i64::from(count) {
            tell(seq, 0);
            tell(seq, 0);
        }
    }
    0
}

/// Tells the socket in slot `index`, if one is there.
extern "C" fn slot(index: u64, walk: *mut Walk) -> i64 {
    // SAFETY: what `iter_task` has stored.
    let (seq, place) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*walk).seq),
            core::ptr::read_volatile(&raw const (*walk).slots) + index * 8,
        )
    };
    let file: u64 = memory::read(place, 0);
    if file == 0 {
        return 0;
    }
    let inode: u64 = memory::read(file, offset!(file_inode));
    if memory::read::<u16>(inode, offset!(inode_mode)) & FORMAT != SOCKET {
        return 0;
    }
    let number: u64 = memory::read(inode, offset!(inode_ino));
    // Closed, it may have become the file of another process.
    if memory::read::<u64>(place, 0) == file && number != 0 {
        tell(seq, number as u32);
    }
    0
}

/// Writes one word to the reader.
#[inline(always)]
fn tell(seq: *mut seq_file, word: u32) {
    let word = core::hint::black_box(word);
    // SAFETY: the reader's file, from the iterator's context; the word is on the stack.
    unsafe { bpf_seq_write(seq, (&raw const word).cast(), 4) };
}
