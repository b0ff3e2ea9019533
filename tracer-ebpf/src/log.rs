//! Lines of a log from inside the kernel, in an object of `cargo xtask build-ebpf --log` only: elsewhere
//! they are nothing, not even their arguments are evaluated.

/// A line at level info (`-v`): a format string with literal text and arguments.
#[macro_export]
macro_rules! info {
    ($($argument:tt)*) => {
        #[cfg(feature = "log")]
        ::aya_log_ebpf::info!(&(), $($argument)*);
    };
}

/// A line at level debug (`-vv`).
#[macro_export]
macro_rules! debug {
    ($($argument:tt)*) => {
        #[cfg(feature = "log")]
        ::aya_log_ebpf::debug!(&(), $($argument)*);
    };
}
