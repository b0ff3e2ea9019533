//! Netlink (RFC 3549; include/uapi/linux/netlink.h): the socket with its dumps, and the tables that
//! only netlink tells, one file each. What sock_diag tells of sockets is in `sockets::diag`.
//!
//! Only dumps are asked for: nothing is changed, and but for `nftables` no privilege is needed.

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

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
