//! Waits for running programs.

use log::debug;

/// Waits until every running program has ended; the kernel determines how long that takes (some ten milliseconds).
/// Programs run inside RCU, whose readers this call waits for (`sys_membarrier`: `synchronize_rcu`), including
/// preempted ones. Does not wait if the call is unavailable.
pub fn wait() {
    // SAFETY: three numbers.
    if unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) } < 0 {
        debug!("programs that are under way are not waited for: {}", std::io::Error::last_os_error());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_knows_the_call() {
        // SAFETY: as above; `MEMBARRIER_CMD_QUERY` gives a bit for each command.
        let known = unsafe { libc::syscall(libc::SYS_membarrier, 0, 0, 0) };
        assert!(known < 0 || known & libc::c_long::from(libc::MEMBARRIER_CMD_GLOBAL) != 0);
        super::wait();
    }
}
