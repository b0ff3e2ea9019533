//! Retransmitted segments.

use tracer_common::audit::Audited;

use super::descriptor::{Attach, Backend, Descriptor, Lack, Link, Wanted, Watch, needed};
use super::needs::{Need, SOCK, needs};

const RETRANSMIT_FORMAT: &[Need] = needs![retransmit_format_skaddr, retransmit_format_skbaddr];

/// The hook.
pub const HOOK: Descriptor = Descriptor {
    name: "tcp_retransmit_skb",
    chain: &[
        Link {
            backend: Backend::RawTp,
            needs: &[SOCK],
            costs: None,
            programs: &[needed("retransmit__raw", Attach::RawTp("tcp_retransmit_skb"))],
        },
        Link {
            backend: Backend::Tracepoint,
            needs: &[RETRANSMIT_FORMAT, SOCK],
            costs: None,
            programs: &[needed("retransmit__classic", Attach::Tracepoint("tcp", "tcp_retransmit_skb"))],
        },
    ],
    without: Some(Lack {
        name: "no_retransmits",
        cost: "no `retransmit` events; `close` still counts retransmitted segments",
    }),
    audit: &[Watch { audited: Audited::Retransmit, name: "tcp_retransmit_skb", counter: "audit_retrans" }],
    wanted: Wanted::Retransmits,
    ..Descriptor::USUAL
};
