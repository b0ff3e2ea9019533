//! `iter/task`: whether 32-bit programs run.

use aya_ebpf::helpers::generated::bpf_seq_write;

use super::Meta;
use crate::{hooks::compat, memory, offset};

#[repr(C)]
pub struct Context {
    meta: *const Meta,
    task: *const u8,
}

/// Writes one byte for each thread of a 32-bit program.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_size")]
pub unsafe extern "C" fn iter_task_size(ctx: *const Context) -> i32 {
    // SAFETY: the kernel's context; the task is null at the end.
    let (meta, task) = unsafe { ((*ctx).meta, (*ctx).task) };
    if !task.is_null() && compat::is_32_bit(memory::read(task as u64, offset!(task_mm))) {
        let one = core::hint::black_box(1_u8);
        // SAFETY: the reader's file, from the iterator's context; the byte is on the stack.
        unsafe { bpf_seq_write((*meta).seq, (&raw const one).cast(), 1) };
    }
    0
}
