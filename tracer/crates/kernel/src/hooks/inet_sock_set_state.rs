//! Transitions between TCP states.

use tracer_common::audit::Audited;

use super::descriptor::{Attach, Backend, Descriptor, Lanes, Link, Watch, needed, optional};
use super::needs::{Need, SOCK, needs};

/// Handles calls that the kernel keeps from `set_state__btf` and its lanes, if a task may be preempted inside them: no
/// call is nested in this one. It is attached before them, so the kernel calls it before them.
pub const SET_STATE_AHEAD: &str = "set_state__ahead";
/// Handles calls that the kernel keeps from `set_state__btf` otherwise; it is attached after it, so the kernel calls it
/// after it.
pub const SECOND_SET_STATE: &str = "set_state_again__btf";

const STATE_FORMAT: &[Need] = needs![
    state_format_skaddr,
    state_format_oldstate,
    state_format_newstate,
    state_format_family,
    state_format_protocol,
    state_format_sport,
    state_format_dport,
    state_format_saddr,
    state_format_daddr
];

/// The hook.
pub const HOOK: Descriptor = Descriptor {
    name: "inet_sock_set_state",
    chain: &[
        Link {
            backend: Backend::TpBtf,
            needs: &[SOCK],
            costs: None,
            programs: &[
                optional(SET_STATE_AHEAD, Attach::Tracepoint("sock", "inet_sock_set_state")),
                needed("set_state__btf", Attach::TpBtf("inet_sock_set_state")),
                optional(SECOND_SET_STATE, Attach::TpBtf("inet_sock_set_state")),
            ],
        },
        Link {
            backend: Backend::RawTp,
            needs: &[SOCK],
            costs: None,
            programs: &[needed("set_state__raw", Attach::RawTp("inet_sock_set_state"))],
        },
        Link {
            backend: Backend::Tracepoint,
            needs: &[STATE_FORMAT],
            costs: None,
            programs: &[needed("set_state__classic", Attach::Tracepoint("sock", "inet_sock_set_state"))],
        },
    ],
    lanes: &[Lanes { first: "set_state__btf", others: ["set_state__lane2", "set_state__lane3"] }],
    audit: &[Watch { audited: Audited::SetState, name: "inet_sock_set_state", counter: "audit_set_state" }],
    required: true,
    verified: 1,
    ..Descriptor::USUAL
};
