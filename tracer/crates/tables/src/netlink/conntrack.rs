//! `IPCTNL_MSG_CT_GET_STATS_CPU`: the counters of connection tracking in this namespace, for each processor
//! (include/uapi/linux/netfilter/nfnetlink_conntrack.h).

use super::NFGENMSG;
use super::attribute::{Attributes, be32_at};

/// The type of the request and of the answers, with `NFNL_SUBSYS_CTNETLINK` in the high byte.
pub const GET_STATS_CPU: u16 = 1 << 8 | 4;
const STATS_INSERT_FAILED: u16 = 9;
const STATS_DROP: u16 = 10;

/// Returns the packets that connection tracking itself dropped on one processor: its table was full, or the insertion
/// failed.
#[must_use]
pub fn dropped(message: &[u8]) -> u64 {
    let counted =
        Attributes::after(NFGENMSG, message).filter(|(kind, _)| matches!(*kind, STATS_INSERT_FAILED | STATS_DROP));
    counted.filter_map(|(_, value)| be32_at(value, 0)).map(u64::from).sum()
}
