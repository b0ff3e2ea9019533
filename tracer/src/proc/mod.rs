//! What /proc tells: the sockets that exist, who holds them, and what is known of a process.
//!
//! Everything here takes a [`root::ProcRoot`], so that it can be tried on a made-up tree. What has
//! vanished between two reads is absent, not an error; what may not be read is counted.

pub mod cgroup;
pub mod container;
mod cursor;
mod dir;
pub mod enter;
pub mod fd;
pub mod fd_scan;
mod lines;
mod mountinfo;
pub mod net;
#[cfg(test)]
mod net_fuzz;
pub mod net_netlink;
pub mod net_packet;
pub mod net_sctp;
pub mod net_tcp;
pub mod net_udp;
pub mod net_unix;
pub mod netns;
pub mod process;
pub mod root;
mod stat;
pub mod tables;
#[cfg(test)]
pub(crate) mod tree;
