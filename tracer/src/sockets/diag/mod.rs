//! The socket tables by NETLINK_SOCK_DIAG (sock_diag(7)): binary, and with more than /proc/net has.
//!
//! A dump is of the namespace that the netlink socket was made in.

mod attribute;
mod inet;
mod local;
mod message;
mod netlink;

pub use netlink::Diag;

use std::io;

/// Why a table could not be had this way.
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
        match source.raw_os_error() {
            // No handler: ENOENT. An address family that is not there: EAFNOSUPPORT. No protocol
            // NETLINK_SOCK_DIAG: EPROTONOSUPPORT. A request that an older kernel does not know: EINVAL.
            Some(libc::ENOENT | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::EINVAL | libc::EOPNOTSUPP) => {
                Self::Unsupported
            }
            _ => Self::Io(source),
        }
    }
}

#[cfg(test)]
mod tests;
