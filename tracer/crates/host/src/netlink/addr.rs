//! `RTM_GETADDR`: the addresses of this namespace (include/uapi/linux/if_addr.h).

use std::io;
use std::net::IpAddr;

use super::attribute::{Attributes, address, u8_at, u32_at};
use super::{Socket, Table};

const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
/// `struct ifaddrmsg`: u8 family, u8 prefix length, u8 flags, u8 scope, u32 index.
const IFADDRMSG: usize = 8;
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

/// Reads every address.
///
/// # Errors
/// Errors of the socket, and errors that the kernel answers with.
pub fn read() -> io::Result<Table<Address>> {
    Socket::open(libc::NETLINK_ROUTE)?.table(RTM_GETADDR, &[0; IFADDRMSG], RTM_NEWADDR, parse)
}

pub(super) fn parse(payload: &[u8]) -> Option<Address> {
    let (prefix, ifindex) = (u8_at(payload, 1)?, u32_at(payload, 4)?);
    let (mut local, mut other) = (None, None);
    for (kind, value) in Attributes::after(IFADDRMSG, payload) {
        match kind {
            // On a point-to-point device IFA_ADDRESS is the peer's address.
            IFA_LOCAL => local = address(value),
            IFA_ADDRESS => other = address(value),
            _ => {}
        }
    }
    Some(Address { ifindex, address: local.or(other)?, prefix })
}
