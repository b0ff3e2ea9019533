//! Tunes the C library's allocator to keep less memory, and reports when memory runs out.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicU8, Ordering},
};

/// The C library's allocator. Without memory (`ulimit -v`) the process reports that and ends with the status of a
/// failing command, instead of SIGABRT.
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

/// The exit status in that case.
pub static STATUS: AtomicU8 = AtomicU8::new(1);

/// `place`; ends the process if it is null.
fn given(place: *mut u8) -> *mut u8 {
    const SAID: &[u8] =
        b"tracer: there is no memory left: raise the limit (ulimit -v), or ask for less with --buffer\n";
    if place.is_null() {
        // SAFETY: the bytes are readable; neither call needs memory. The kernel side's objects go with the process.
        unsafe {
            libc::write(libc::STDERR_FILENO, SAID.as_ptr().cast(), SAID.len());
            libc::_exit(STATUS.load(Ordering::Relaxed).into());
        }
    }
    place
}

/// The most arenas of the allocator. By default it makes one for nearly every thread, and keeps it after the thread's
/// end; tracer has many short-lived threads, and few that allocate at the same time.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 2;

/// Limits the number of arenas. Call it before any thread starts.
pub fn keep_to_few_places() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointers; it may be called at any time.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}

/// Returns unused memory to the kernel.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointers; it may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
