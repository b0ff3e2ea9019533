//! Packets that the kernel drops.

use tracer_common::audit::Audited;

use super::descriptor::{Attach, Backend, Descriptor, Lack, Link, Wanted, Watch, needed};
use super::needs::{Need, SKB, needs};

const KFREE_FORMAT: &[Need] = needs![kfree_format_skbaddr, kfree_format_location];

/// The hook.
pub const HOOK: Descriptor = Descriptor {
    name: "kfree_skb",
    chain: &[
        Link {
            backend: Backend::TpBtf,
            needs: &[SKB],
            costs: None,
            programs: &[needed("kfree_skb__btf", Attach::TpBtf("kfree_skb"))],
        },
        Link {
            backend: Backend::RawTp,
            needs: &[SKB],
            costs: None,
            programs: &[needed("kfree_skb__raw", Attach::RawTp("kfree_skb"))],
        },
        Link {
            backend: Backend::Tracepoint,
            needs: &[KFREE_FORMAT, SKB],
            costs: None,
            programs: &[needed("kfree_skb__classic", Attach::Tracepoint("skb", "kfree_skb"))],
        },
    ],
    without: Some(Lack { name: "no_drops", cost: "dropped packets are not seen" }),
    audit: &[Watch { audited: Audited::Drop, name: "kfree_skb", counter: "audit_drop" }],
    wanted: Wanted::Drops,
    verified: 0,
    ..Descriptor::USUAL
};
