//! `RTM_GETQDISC`: the queueing disciplines of this namespace (include/uapi/linux/rtnetlink.h,
//! pkt_sched.h, gen_stats.h). The kernel leaves out those that a classful one makes for itself.

use std::io;

use super::attribute::{Attributes, text, u32_at};
use super::{Socket, Table};

const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
/// `struct tcmsg`: u8 family, three bytes, i32 index, u32 handle, u32 parent, u32 info.
const TCMSG: usize = 20;
const TCA_KIND: u16 = 1;
const TCA_STATS2: u16 = 7;
const TCA_STATS_QUEUE: u16 = 3;
/// `struct gnet_stats_queue`: u32 qlen, backlog, drops, requeues, overlimits.
const DROPS: usize = 8;
const TC_H_INGRESS: u32 = 0xffff_fff1;
const TC_H_ROOT: u32 = 0xffff_ffff;

/// A queueing discipline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qdisc {
    /// Index of the device.
    pub ifindex: u32,
    /// `fq_codel`, `tbf` …
    pub kind: String,
    /// Its handle: the number before the colon in the high sixteen bits.
    pub handle: u32,
    /// The class that it is in.
    pub parent: u32,
    /// Packets that it has dropped.
    pub drops: Option<u32>,
}

impl Qdisc {
    /// Whether it queues nothing, and so drops nothing.
    #[must_use]
    pub fn has_no_queue(&self) -> bool {
        self.parent == TC_H_INGRESS || self.kind == "noqueue"
    }

    /// Whether it is the device's own, and not in a class of another.
    #[must_use]
    pub const fn is_root(&self) -> bool {
        self.parent == TC_H_ROOT
    }

    /// Returns the handle as `tc` writes it.
    #[must_use]
    pub fn handle_text(&self) -> String {
        format!("{:x}:", self.handle >> 16)
    }
}

/// Reads every queueing discipline.
///
/// # Errors
/// Errors of the socket, and errors that the kernel answers with.
pub fn read() -> io::Result<Table<Qdisc>> {
    Socket::open(libc::NETLINK_ROUTE)?.table(RTM_GETQDISC, &[0; TCMSG], RTM_NEWQDISC, parse)
}

pub(crate) fn parse(payload: &[u8]) -> Option<Qdisc> {
    payload.get(..TCMSG)?;
    let (ifindex, handle, parent) = (u32_at(payload, 4)?, u32_at(payload, 8)?, u32_at(payload, 12)?);
    let (mut kind, mut drops) = (None, None);
    for (attribute, value) in Attributes::after(TCMSG, payload) {
        match attribute {
            TCA_KIND => kind = Some(text(value)),
            TCA_STATS2 => {
                let queue = Attributes::of(value).find(|(kind, _)| *kind == TCA_STATS_QUEUE);
                drops = queue.and_then(|(_, queue)| u32_at(queue, DROPS));
            }
            _ => {}
        }
    }
    Some(Qdisc { ifindex, kind: kind?, handle, parent, drops })
}
