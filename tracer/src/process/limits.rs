//! Limits of the caller (`ulimit`) under which the process would end without a message.

use rustix::process::{Resource, getrlimit};

/// Bytes of stack that the main thread needs; it has used up to half of them.
const STACK: u64 = 512 << 10;
/// Bytes of address space with which a trace begins: the rings, the kernel's types, the stacks of threads.
const ADDRESSES: u64 = 256 << 20;

/// The reason why this process cannot do its work, with a remedy.
///
/// # Errors
/// If a limit is too low.
pub fn check() -> Result<(), String> {
    let limits =
        [(Resource::Stack, STACK, "of the stack is", "-s"), (Resource::As, ADDRESSES, "of the address space is", "-v")];
    for (resource, least, what, option) in limits {
        if let Some(limit) = getrlimit(resource).current.filter(|limit| *limit < least) {
            return Err(format!(
                "the limit {what} {} KiB, and tracer needs {}: raise it (ulimit {option} {1})",
                limit >> 10,
                least >> 10
            ));
        }
    }
    Ok(())
}

/// Makes a write beyond the file size limit (`ulimit -f`) fail with an error instead of ending the process. By a
/// handler, since the command of `tracer run` would inherit an ignored signal.
pub fn fail_beyond_file_size() {
    extern "C" fn nothing(_: libc::c_int) {}
    let handler: extern "C" fn(libc::c_int) = nothing;
    // SAFETY: an all-zero `sigaction` is a valid one, and the handler does nothing. It fails for no such signal only.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        // A caller that ignores it wants the command of `run` to do so, too.
        if libc::sigaction(libc::SIGXFSZ, std::ptr::null(), &raw mut before) == 0
            && before.sa_sigaction == libc::SIG_DFL
        {
            libc::sigaction(libc::SIGXFSZ, &raw const action, std::ptr::null_mut());
        }
    }
}
