//! `IPCTNL_MSG_CT_GET_STATS_CPU`: the counters of connection tracking in this namespace, for each processor
//! (include/uapi/linux/netfilter/nfnetlink_conntrack.h).

use std::io;

use super::Socket;
use super::attribute::{Attributes, be32_at};

const NETLINK_NETFILTER: libc::c_int = 12;
/// `NFNL_SUBSYS_CTNETLINK` in the high byte. The answer has the same type.
const GET_STATS_CPU: u16 = 1 << 8 | 4;
const NFGENMSG: usize = 4;
const STATS_INSERT_FAILED: u16 = 9;
const STATS_DROP: u16 = 10;

/// Returns the packets that connection tracking dropped itself: its table was full, or the insertion failed.
///
/// # Errors
/// Errors of the socket, and errors that the kernel answers with.
pub fn dropped() -> io::Result<u64> {
    let mut all = 0;
    Socket::open(NETLINK_NETFILTER)?.dump(GET_STATS_CPU, &[0; NFGENMSG], GET_STATS_CPU, |message| {
        all += of_one_processor(message);
    })?;
    Ok(all)
}

pub(super) fn of_one_processor(message: &[u8]) -> u64 {
    let counted =
        Attributes::after(NFGENMSG, message).filter(|(kind, _)| matches!(*kind, STATS_INSERT_FAILED | STATS_DROP));
    counted.filter_map(|(_, value)| be32_at(value, 0)).map(u64::from).sum()
}
