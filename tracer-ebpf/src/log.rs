//! Log lines from inside the kernel, only in an object of `cargo xtask build-ebpf --log`: in other
//! objects the macros expand to nothing and do not evaluate their arguments.

/// Logs a line at level info (`-v`): a format string with literal text and arguments.
#[macro_export]
macro_rules! info {
    ($($argument:tt)*) => {
        #[cfg(feature = "log")]
        ::aya_log_ebpf::info!(&(), $($argument)*);
    };
}

/// Logs a line at level debug (`-vv`).
#[macro_export]
macro_rules! debug {
    ($($argument:tt)*) => {
        #[cfg(feature = "log")]
        ::aya_log_ebpf::debug!(&(), $($argument)*);
    };
}
