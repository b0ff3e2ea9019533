//! `RTM_GETADDR`: the addresses of this namespace (include/uapi/linux/if_addr.h).

use std::net::IpAddr;

use super::attribute::{Attributes, address, u8_at, u32_at};

/// `RTM_NEWADDR`: the type of the answers.
pub const NEW: u16 = 20;
/// `RTM_GETADDR`: the type of the request.
pub const GET: u16 = 22;
/// Bytes of `struct ifaddrmsg`: u8 family, u8 prefix length, u8 flags, u8 scope, u32 index.
pub const HEADER: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// An address of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of its device.
    pub ifindex: u32,
    /// The address.
    pub address: IpAddr,
    /// Length of its prefix.
    pub prefix: u8,
}

/// Parses an answer.
#[must_use]
pub fn parse(payload: &[u8]) -> Option<Address> {
    let (prefix, ifindex) = (u8_at(payload, 1)?, u32_at(payload, 4)?);
    let (mut local, mut other) = (None, None);
    for (kind, value) in Attributes::after(HEADER, payload) {
        match kind {
            // On a point-to-point device IFA_ADDRESS is the peer's address.
            IFA_LOCAL => local = address(value),
            IFA_ADDRESS => other = address(value),
            _ => {}
        }
    }
    Some(Address { ifindex, address: local.or(other)?, prefix })
}
