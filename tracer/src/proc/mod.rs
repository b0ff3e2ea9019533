//! What /proc tells: the sockets that exist, who holds them, and what is known of a process.
//!
//! Everything here takes a [`root::ProcRoot`], so that it can be tried on a made-up tree. What has
//! vanished between two reads is absent, not an error; what may not be read is counted.

pub mod cgroup;
pub mod container;
mod dir;
pub mod enter;
pub mod fd;
pub mod fd_scan;
pub mod look;
mod mountinfo;
pub mod net;
pub mod netns;
mod netns_kept;
pub mod pidns;
pub mod process;
pub mod root;
mod stat;
pub mod tables;
#[cfg(test)]
pub(crate) mod tree;
pub mod unit;
pub mod visit;
