//! Netlink (RFC 3549; include/uapi/linux/netlink.h): its messages and attributes, and the tables that only netlink has,
//! one file each.

pub mod addr;
pub mod attribute;
pub mod conntrack;
pub mod link;
pub mod message;
pub mod neigh;
pub mod nftables;
pub mod qdisc;

/// `NETLINK_NETFILTER`.
pub const NETLINK_NETFILTER: libc::c_int = 12;
/// Bytes of `struct nfgenmsg`: u8 family, u8 version, u16 resource. Family 0 asks for all.
pub const NFGENMSG: usize = 4;

#[cfg(any(test, feature = "sample"))]
pub mod fixtures;
#[cfg(test)]
mod tests;
