//! `RTM_GETADDR`: the addresses of this namespace (include/uapi/linux/if_addr.h).

use std::io;
use std::net::IpAddr;

use super::message::{address, attributes, u32_at};

const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
/// `struct ifaddrmsg`: u8 family, u8 prefix length, u8 flags, u8 scope, u32 index.
const IFADDRMSG: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// One address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of its device.
    pub ifindex: u32,
    /// The address.
    pub address: IpAddr,
    /// Length of its prefix.
    pub prefix: u8,
}

/// Every address.
///
/// # Errors
/// Those of the socket, and what the kernel answers.
pub fn read() -> io::Result<Vec<Address>> {
    let mut addresses = Vec::new();
    super::dump(libc::NETLINK_ROUTE, RTM_GETADDR, &[0; IFADDRMSG], RTM_NEWADDR, |payload| {
        addresses.extend(parse(payload));
    })?;
    Ok(addresses)
}

pub(in super::super) fn parse(payload: &[u8]) -> Option<Address> {
    let (prefix, ifindex) = (*payload.get(1)?, u32_at(payload, 4)?);
    let (mut local, mut other) = (None, None);
    for (kind, value) in attributes(payload, IFADDRMSG) {
        match kind {
            // On a point-to-point device IFA_ADDRESS is the peer's.
            IFA_LOCAL => local = address(value),
            IFA_ADDRESS => other = address(value),
            _ => {}
        }
    }
    Some(Address { ifindex, address: local.or(other)?, prefix })
}
