//! What the C library's allocator is told, so that it keeps less memory than it would.

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
