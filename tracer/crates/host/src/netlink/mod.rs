//! Netlink (RFC 3549; include/uapi/linux/netlink.h): the socket with its dumps, and the tables that
//! only netlink has, one file each. `sockets::diag` has the tables of sock_diag.
//!
//! All requests only read; only `nftables` needs a privilege.

pub mod addr;
pub mod attribute;
pub mod conntrack;
pub mod link;
pub(crate) mod message;
pub mod neigh;
pub mod nftables;
pub mod qdisc;
mod socket;

pub use socket::{Datagram, Socket, Table};

#[cfg(any(test, feature = "sample"))]
pub mod fixtures;
#[cfg(test)]
mod tests;
