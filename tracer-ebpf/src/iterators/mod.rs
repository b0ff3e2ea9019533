//! BPF iterators, one file for each. The kernel calls their programs only when a process reads the
//! iterator's file: `tracer sockets`, and a trace when it begins.

mod connections;
mod task;
mod task_file;
mod task_size;
mod window;

use core::mem::MaybeUninit;

use aya_ebpf::bindings::seq_file;
use aya_ebpf::helpers::generated::bpf_seq_write;

/// The beginning of `struct bpf_iter_meta`.
#[repr(C)]
pub struct Meta {
    seq: *mut seq_file,
}

/// Returns the `T` at `base + offset`; to the verifier `base` is a pointer to a kernel structure.
#[inline(always)]
unsafe fn load<T: Copy>(base: *const u8, offset: u32) -> T {
    // SAFETY: the verifier checks the offset against the type of `base` and handles a fault.
    unsafe { core::ptr::read_volatile(base.add(offset as usize).cast::<T>()) }
}

/// A record on the stack. [`store!`](crate::store) writes its fields one by one, volatile: the compiler turns anything
/// else into calls of `memset`, and a loaded program has no such function.
pub struct Record<T>(MaybeUninit<T>);

impl<T> Record<T> {
    #[inline(always)]
    pub fn new() -> Self {
        Self(MaybeUninit::uninit())
    }

    /// Returns the record's address, to store its fields.
    #[inline(always)]
    pub fn place(&mut self) -> *mut T {
        self.0.as_mut_ptr()
    }

    /// Writes the record to the reader.
    ///
    /// # Safety
    /// Every byte is stored, and `seq` is the reader's file, from an iterator's context.
    #[inline(always)]
    pub unsafe fn write(&self, seq: *mut seq_file) {
        // SAFETY: by the caller's promise. When the reader's buffer is full, the kernel calls the
        // program again for the same object.
        unsafe {
            bpf_seq_write(seq, self.0.as_ptr().cast(), size_of::<T>() as u32);
        }
    }
}

/// Stores one field of a record.
#[macro_export]
macro_rules! store {
    ($place:expr, $field:ident $([$at:literal])?, $value:expr) => {{
        let value = $value;
        // SAFETY: a place on the stack, of this type.
        #[allow(unused_unsafe, reason = "some users stand in an unsafe block already")]
        unsafe {
            core::ptr::write_volatile(&raw mut (*$place).$field $([$at])?, value)
        }
    }};
}
