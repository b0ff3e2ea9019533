//! `tracer sockets`: the sockets that exist now, in every network namespace, and their holders.
//!
//! [`collect::collect`] takes the picture: tables (`table`, by `diag` or from /proc) of each
//! namespace (`proc::enter`), joined with the holders (`proc::fd_scan` or [`iterators`]).

mod by_namespace;
pub mod collect;
mod connections;
pub mod diag;
pub mod gathered;
pub mod iterators;
mod limited;
mod namespace;
pub mod order;
pub mod owners;
mod picture;
pub mod proto;
pub mod row;
mod shared;
pub mod source;
pub mod table;
pub mod watch;
