//! Readers of /proc: the sockets that exist, their holders, and the facts of processes.
//!
//! Every reader takes a [`root::ProcRoot`], so that tests can inject a tree. A thing that vanishes
//! between two reads is absent, not an error; a thing that this user may not read is counted.

pub mod cgroup;
pub mod container;
mod dir;
pub mod doing;
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
