//! What the C library's allocator is told, so that it keeps less memory than it would; and what is said where it has none.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicU8, Ordering},
};

/// The C library's allocator. Where it has no memory left (`ulimit -v`) the process says so and ends, with what a command
/// that fails ends with, instead of SIGABRT.
#[derive(Debug, Clone, Copy)]
pub struct Speaking;

// SAFETY: everything is handed on; a null pointer is never returned.
unsafe impl GlobalAlloc for Speaking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        given(unsafe { System.alloc(layout) })
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        given(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        given(unsafe { System.realloc(place, layout, size) })
    }
}

/// What the process ends with then.
pub static STATUS: AtomicU8 = AtomicU8::new(1);

/// `place`, if there is one.
fn given(place: *mut u8) -> *mut u8 {
    const SAID: &[u8] =
        b"tracer: there is no memory left: raise the limit (ulimit -v), or ask for less with --buffer\n";
    if place.is_null() {
        // SAFETY: the bytes are readable; neither call needs memory. What the kernel side has goes with the process.
        unsafe {
            libc::write(libc::STDERR_FILENO, SAID.as_ptr().cast(), SAID.len());
            libc::_exit(STATUS.load(Ordering::Relaxed).into());
        }
    }
    place
}

/// Places that it may take memory for threads from. It makes one for nearly every thread, and keeps it
/// when the thread has ended; we have many short-lived ones and few that allocate at the same time.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 2;

/// To be called before there are threads.
pub fn keep_to_few_places() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointers; it may be called at any time.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}

/// Gives back what will not be needed again.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointers; it may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
