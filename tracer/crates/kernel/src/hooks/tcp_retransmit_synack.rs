//! Retransmitted SYN-ACKs.

use tracer_common::audit::Audited;

use super::descriptor::{Attach, Backend, Descriptor, Lack, Link, Wanted, Watch, needed};
use super::needs::{Need, SOCK, needs};

const SYNACK_FORMAT: &[Need] = needs![synack_format_skaddr, synack_format_req];

/// The hook.
pub const HOOK: Descriptor = Descriptor {
    name: "tcp_retransmit_synack",
    chain: &[
        Link {
            backend: Backend::RawTp,
            needs: &[SOCK],
            costs: None,
            programs: &[needed("synack__raw", Attach::RawTp("tcp_retransmit_synack"))],
        },
        Link {
            backend: Backend::Tracepoint,
            needs: &[SYNACK_FORMAT, SOCK],
            costs: None,
            programs: &[needed("synack__classic", Attach::Tracepoint("tcp", "tcp_retransmit_synack"))],
        },
    ],
    without: Some(Lack {
        name: "no_retransmits",
        cost: "no `retransmit` events; `close` still counts retransmitted segments",
    }),
    audit: &[Watch { audited: Audited::RetransmitSynAck, name: "tcp_retransmit_synack", counter: "audit_synack" }],
    wanted: Wanted::Retransmits,
    ..Descriptor::USUAL
};
