//! BPF iterators, for `tracer sockets`: one file an iterator. Their programs are called by whoever
//! reads the iterator's file, and never else: `tracer sockets`, and a trace when it begins.

mod connections;
mod task;
mod task_file;
mod tcp;
mod window;

use core::mem::MaybeUninit;

use aya_ebpf::bindings::seq_file;
use aya_ebpf::helpers::generated::bpf_seq_write;

/// `struct bpf_iter_meta`, the beginning of it.
#[repr(C)]
pub struct Meta {
    seq: *mut seq_file,
}

/// The `T` at `base + offset`, where `base` is a pointer to a kernel structure for the verifier.
#[inline(always)]
unsafe fn load<T: Copy>(base: *const u8, offset: u32) -> T {
    // SAFETY: the verifier checks the offset against the type of `base` and handles a fault.
    unsafe { core::ptr::read_volatile(base.add(offset as usize).cast::<T>()) }
}

/// A record on the stack. Its fields are stored one by one, volatile: the compiler makes calls of
/// `memset` out of anything else, and a loaded program has no other functions beside it.
pub struct Record<T>(MaybeUninit<T>);

impl<T> Record<T> {
    #[inline(always)]
    pub fn new() -> Self {
        Self(MaybeUninit::uninit())
    }

    /// Where the record is, to store its fields.
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
        // SAFETY: by the caller's promise. When the reader's buffer is full the kernel calls the
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
