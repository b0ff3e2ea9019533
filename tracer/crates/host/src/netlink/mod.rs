//! The netlink socket with its dumps. `tracer_tables::netlink` has the messages and their parsers; `sockets::diag` has the
//! tables of sock_diag.
//!
//! All requests only read; only [`nftables`] needs a privilege.

pub mod budget;
pub mod conntrack;
pub mod nftables;
mod rtnetlink;
mod socket;

pub use self::{
    rtnetlink::{addresses, links, neighbours, qdiscs},
    socket::{Datagram, Socket, Table},
};
