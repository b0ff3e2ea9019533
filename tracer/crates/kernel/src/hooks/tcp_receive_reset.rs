//! Received RST.

use tracer_common::audit::Audited;

use super::descriptor::{Attach, Backend, Descriptor, Lack, Lanes, Link, Wanted, Watch, needed};
use super::needs::{Need, SOCK, needs};

const RECEIVE_RESET_FORMAT: &[Need] = needs![receive_reset_format_skaddr];

/// The hook.
pub const HOOK: Descriptor = Descriptor {
    name: "tcp_receive_reset",
    chain: &[
        Link {
            backend: Backend::RawTp,
            needs: &[SOCK],
            costs: None,
            programs: &[needed("receive_reset__raw", Attach::RawTp("tcp_receive_reset"))],
        },
        Link {
            backend: Backend::Tracepoint,
            needs: &[RECEIVE_RESET_FORMAT, SOCK],
            costs: None,
            programs: &[needed("receive_reset__classic", Attach::Tracepoint("tcp", "tcp_receive_reset"))],
        },
    ],
    without: Some(Lack { name: "no_resets", cost: "no `reset` events; verdicts still show who reset a connection" }),
    lanes: &[Lanes { first: "receive_reset__raw", others: ["receive_reset__lane2", "receive_reset__lane3"] }],
    audit: &[Watch { audited: Audited::ReceiveReset, name: "tcp_receive_reset", counter: "audit_reset_in" }],
    wanted: Wanted::Resets,
    ..Descriptor::USUAL
};
