//! `iter/task`: the sockets in the file table of every process, and of the threads with a table of
//! their own.
//!
//! `iter/task_file` takes a reference to every file before it shows it: an atomic operation on memory
//! in no cache, for which the processor waits before it looks at the next file. This program takes no
//! reference and no lock. So a result counts only if the file is still in its slot afterwards and the
//! table still belongs to the process; otherwise the program reports the process as changed.
//!
//! The program reads eight files together, step by step: the processor fetches the cache lines of one
//! while it begins with the next.

use core::ffi::c_void;
use core::mem::MaybeUninit;

use aya_ebpf::bindings::seq_file;
use aya_ebpf::helpers::generated::{bpf_loop, bpf_seq_write};
use tracer_common::settings::ABSENT;

use super::task_file::{FORMAT, SOCKET};
use super::{Meta, window};
use crate::{memory, offset, store};

#[repr(C)]
pub struct Context {
    meta: *const Meta,
    task: *const u8,
}

/// The state of the loop over a table.
#[repr(C)]
struct Walk {
    seq: *mut seq_file,
    /// Address of the first slot.
    slots: u64,
}

/// Reads with helpers.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub unsafe extern "C" fn iter_task(ctx: *const Context) -> i32 {
    sockets::<Helper>(ctx)
}

/// Reads with plain loads, from 6.2 on: a quarter of the time.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_plain")]
pub unsafe extern "C" fn iter_task_plain(ctx: *const Context) -> i32 {
    sockets::<Plain>(ctx)
}

/// How a program reads the files. The results go to memory: with variables besides, they would not fit on the stack.
trait Loads {
    fn word(place: &mut u64, base: u64, offset: u32);
    fn half(place: &mut u16, base: u64, offset: u32);
    fn slots(place: &mut [u64; SLOTS], base: u64);
    /// Makes `wrong` not 0 where `files` no longer match the slots at `base`: after its close, a file's memory may
    /// belong to a file of another process.
    fn differences(wrong: &mut [u64; SLOTS], files: &[u64; SLOTS], base: u64);
}

struct Helper;

impl Loads for Helper {
    #[inline(always)]
    fn word(place: &mut u64, base: u64, offset: u32) {
        memory::read_into(place, base, offset);
    }

    #[inline(always)]
    fn half(place: &mut u16, base: u64, offset: u32) {
        memory::read_into(place, base, offset);
    }

    #[inline(always)]
    fn slots(place: &mut [u64; SLOTS], base: u64) {
        memory::read_into(place, base, 0);
    }

    #[inline(always)]
    fn differences(wrong: &mut [u64; SLOTS], files: &[u64; SLOTS], base: u64) {
        let mut still = [0_u64; SLOTS];
        memory::read_into(&mut still, base, 0);
        for at in 0..SLOTS {
            wrong[at] |= files[at] ^ still[at];
        }
    }
}

struct Plain;

impl Loads for Plain {
    #[inline(always)]
    fn word(place: &mut u64, base: u64, offset: u32) {
        // SAFETY: a place of the caller's.
        unsafe { core::ptr::write_volatile(place, window::word(base, offset)) };
    }

    #[inline(always)]
    fn half(place: &mut u16, base: u64, offset: u32) {
        *place = window::word(base, offset) as u16;
    }

    #[inline(always)]
    fn slots(place: &mut [u64; SLOTS], base: u64) {
        for (at, slot) in place.iter_mut().enumerate() {
            Self::word(slot, base, at as u32 * 8);
        }
    }

    #[inline(always)]
    fn differences(wrong: &mut [u64; SLOTS], files: &[u64; SLOTS], base: u64) {
        for at in 0..SLOTS {
            wrong[at] |= files[at] ^ window::word(base, at as u32 * 8);
        }
    }
}

#[inline(always)]
fn sockets<L: Loads>(ctx: *const Context) -> i32 {
    // SAFETY: the kernel's context; the task is null at the end.
    let (meta, task) = unsafe { ((*ctx).meta, (*ctx).task) };
    if task.is_null()
        || offset!(task_files) == ABSENT
        || offset!(files_fdt) == ABSENT
        || offset!(fdt_fd) == ABSENT
        || offset!(file_inode) == ABSENT
        || offset!(file_private_data) == ABSENT
        || offset!(socket_inode) == ABSENT
        || offset!(inode_ino) == ABSENT
    {
        return 0;
    }
    // By address: for each direct load of a pointer the verifier searches all the kernel's types for a
    // name that decides whether the pointer is trusted (`btf_nested_type_is_trusted`), and that takes
    // longer than all the rest.
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
        let groups = count / SLOTS as u32;
        let looked_at = bpf_loop(groups, group::<L> as *mut c_void, place.cast(), 0);
        // Otherwise the process ended, or its table grew, during the walk. A table's size is a multiple of
        // 64 (`alloc_fdtable`).
        let is_same = memory::read::<u64>(task, offset!(task_files)) == files
            && memory::read::<u64>(files, offset!(files_fdt)) == table
            && count % SLOTS as u32 == 0;
        if !is_same || looked_at != i64::from(groups) {
            tell(seq, 0);
            tell(seq, 0);
        }
    }
    0
}

/// The number of files read together.
const SLOTS: usize = 8;

/// Writes the sockets in the slots of group `index` to the reader.
extern "C" fn group<L: Loads>(index: u64, walk: *mut Walk) -> i64 {
    // SAFETY: `sockets` has stored both.
    let (seq, place) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*walk).seq),
            core::ptr::read_volatile(&raw const (*walk).slots) + index * 8 * SLOTS as u64,
        )
    };
    // No branch until the end: the verifier would follow each of the eight both ways. And in memory, to
    // which the helper writes: with variables besides, the values would not fit on the stack.
    let (mut files, mut inodes, mut wrong) = ([0_u64; SLOTS], [0_u64; SLOTS], [0_u64; SLOTS]);
    L::slots(&mut files, place);
    for at in 0..SLOTS {
        L::word(&mut wrong[at], files[at], offset!(file_private_data));
        L::word(&mut inodes[at], files[at], offset!(file_inode));
        // Not 0 unless the inode lies beside the socket (`socket_inode` is the offset from the socket to
        // the inode's number): the file of a socket's path opened with `O_PATH` has an inode of a file
        // system, with an unrelated number.
        wrong[at] = (wrong[at] + u64::from(offset!(socket_inode))) ^ (inodes[at] + u64::from(offset!(inode_ino)));
    }
    for at in 0..SLOTS {
        let mut mode = 0_u16;
        L::half(&mut mode, inodes[at], offset!(inode_mode));
        wrong[at] |= u64::from(mode & FORMAT ^ SOCKET);
        // The number replaces the inode's address, which has no further use.
        let inode = inodes[at];
        L::word(&mut inodes[at], inode, offset!(inode_ino));
    }
    L::differences(&mut wrong, &files, place);
    for at in 0..SLOTS {
        if wrong[at] == 0 && inodes[at] != 0 {
            tell(seq, inodes[at] as u32);
        }
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
