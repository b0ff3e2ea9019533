//! The tables of /proc/net, one file a parser.
//!
//! A parser takes a reader, returns rows, and counts malformed lines. The parsers are our own because
//! the `procfs` crate gives up a whole file at the first unexpected line. The formats follow the
//! `seq_show` functions named in each file; they hold from Linux 5.8 on.

pub mod arp;
mod cursor;
pub mod dev;
pub mod fib_trie;
mod fields;
pub mod if_inet6;
pub mod igmp;
pub mod igmp6;
pub mod ipv6_route;
mod lines;
pub mod netlink;
pub mod nf_conntrack;
pub mod packet;
pub mod percpu;
pub mod ptype;
pub mod route;
pub mod sctp;
pub mod snmp;
pub mod snmp6;
pub mod sockstat;
pub mod softnet_stat;
pub mod tcp;
pub mod udp;
pub mod unix;
pub mod wireless;

pub use lines::{Malformed, SocketLine, read_sockets};

#[cfg(test)]
mod tests;
