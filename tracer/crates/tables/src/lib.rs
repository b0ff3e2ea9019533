//! The kernel's tables as data, with the parsers of netlink's messages. This crate does no I/O: `tracer-host` asks the
//! kernel, and `tracer-kernel` reads its type information.

pub mod bound;
pub mod discards;
pub mod netlink;
pub mod programs;
pub mod reasons;
pub mod tuple;
