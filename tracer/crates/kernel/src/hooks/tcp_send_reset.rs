//! Sent RST.

use tracer_common::audit::Audited;

use super::descriptor::{Attach, Backend, Descriptor, Lack, Lanes, Link, Wanted, Watch, needed};
use super::needs::{Need, SOCK, needs};

const SEND_RESET_FORMAT: &[Need] = needs![send_reset_format_skaddr, send_reset_format_skbaddr];

/// The hook.
pub const HOOK: Descriptor = Descriptor {
    name: "tcp_send_reset",
    chain: &[
        Link {
            backend: Backend::RawTp,
            needs: &[SOCK],
            costs: None,
            programs: &[needed("send_reset__raw", Attach::RawTp("tcp_send_reset"))],
        },
        Link {
            backend: Backend::Tracepoint,
            needs: &[SEND_RESET_FORMAT, SOCK],
            costs: None,
            programs: &[needed("send_reset__classic", Attach::Tracepoint("tcp", "tcp_send_reset"))],
        },
    ],
    without: Some(Lack { name: "no_resets", cost: "no `reset` events; verdicts still show who reset a connection" }),
    lanes: &[Lanes { first: "send_reset__raw", others: ["send_reset__lane2", "send_reset__lane3"] }],
    audit: &[Watch { audited: Audited::SendReset, name: "tcp_send_reset", counter: "audit_reset_out" }],
    wanted: Wanted::Resets,
    ..Descriptor::USUAL
};
