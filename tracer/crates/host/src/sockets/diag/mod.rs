//! The socket tables by NETLINK_SOCK_DIAG (sock_diag(7)): binary, and with more than /proc/net has.
//!
//! A dump covers the namespace that the netlink socket was made in.

pub mod bound;
mod by_family;
pub mod drops;
mod dump;
mod inet;
pub mod listen;
mod local;
mod tcp;

pub use dump::{Diag, Dumped};

use std::io;

use tracer_tables::netlink::attribute::u32_at;

/// Why sock_diag did not give a table.
#[derive(Debug, thiserror::Error)]
pub enum DiagError {
    /// The kernel has no such handler (no CONFIG_INET_DIAG …), or no NETLINK_SOCK_DIAG at all.
    #[error("this kernel has no sock_diag for it")]
    Unsupported,
    /// Anything else.
    #[error("sock_diag failed")]
    Io(#[source] io::Error),
}

impl DiagError {
    fn of(source: io::Error) -> Self {
        if is_unsupported(&source) { Self::Unsupported } else { Self::Io(source) }
    }
}

/// Whether the error means that the kernel lacks what the request names.
fn is_unsupported(error: &io::Error) -> bool {
    // ENOENT: no handler. EAFNOSUPPORT: no such address family. EPROTONOSUPPORT: no NETLINK_SOCK_DIAG.
    // EINVAL: an older kernel that does not know the request.
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::EINVAL | libc::EOPNOTSUPP)
    )
}

/// Reads four words in memory order.
fn words_at(bytes: &[u8], at: usize) -> Option<[u32; 4]> {
    Some([u32_at(bytes, at)?, u32_at(bytes, at + 4)?, u32_at(bytes, at + 8)?, u32_at(bytes, at + 12)?])
}

/// Reads two words, the low one first; `None` for `INET_DIAG_NOCOOKIE`.
fn cookie_at(bytes: &[u8], at: usize) -> Option<u64> {
    let cookie = u64::from(u32_at(bytes, at)?) | u64::from(u32_at(bytes, at + 4)?) << 32;
    (cookie != 0 && cookie != u64::MAX).then_some(cookie)
}

#[cfg(test)]
mod tests;
