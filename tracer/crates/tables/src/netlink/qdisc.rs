//! `RTM_GETQDISC`: the queueing disciplines of this namespace (include/uapi/linux/rtnetlink.h,
//! pkt_sched.h, gen_stats.h). The kernel leaves out those that a classful one makes for itself.

use super::attribute::{Attributes, text, u32_at};

/// `RTM_NEWQDISC`: the type of the answers.
pub const NEW: u16 = 36;
/// `RTM_GETQDISC`: the type of the request.
pub const GET: u16 = 38;
/// Bytes of `struct tcmsg`: u8 family, three bytes, i32 index, u32 handle, u32 parent, u32 info.
pub const HEADER: usize = 20;
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

/// Parses an answer.
#[must_use]
pub fn parse(payload: &[u8]) -> Option<Qdisc> {
    payload.get(..HEADER)?;
    let (ifindex, handle, parent) = (u32_at(payload, 4)?, u32_at(payload, 8)?, u32_at(payload, 12)?);
    let (mut kind, mut drops) = (None, None);
    for (attribute, value) in Attributes::after(HEADER, payload) {
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
