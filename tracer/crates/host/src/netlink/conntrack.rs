//! Asks for the counters of connection tracking.

use std::io;

use tracer_tables::netlink::{
    NETLINK_NETFILTER, NFGENMSG,
    conntrack::{self, GET_STATS_CPU},
};

use super::Socket;

/// Returns the packets that connection tracking itself dropped in this namespace.
///
/// # Errors
/// Errors of the socket, and errors that the kernel answers with.
pub fn dropped() -> io::Result<u64> {
    let mut all = 0;
    Socket::open(NETLINK_NETFILTER)?.dump(GET_STATS_CPU, &[0; NFGENMSG], GET_STATS_CPU, |message| {
        all += conntrack::dropped(message);
    })?;
    Ok(all)
}
