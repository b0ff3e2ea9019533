//! Reads the host: /proc, netlink, sock_diag and the clocks. Each table has one file, whose parser takes bytes and does no
//! I/O; what may hang is read by [`readers`]. Programs in the kernel are not used here: who has some hands their tables in
//! ([`sockets::iterators`]).

pub mod clock;
pub mod net;
pub mod netlink;
pub mod proc;
pub mod programs;
pub mod readers;
pub mod sockets;
pub mod survey;
