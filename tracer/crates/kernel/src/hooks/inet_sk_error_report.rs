//! Errors that the kernel reports on a socket.

use tracer_common::audit::Audited;

use super::descriptor::{Attach, Backend, Descriptor, Lack, Lanes, Link, Watch, needed};
use super::needs::{Need, SOCK, needs};

const SK_ERR: &[Need] = needs![sk_err];

/// The hook.
pub const HOOK: Descriptor = Descriptor {
    name: "inet_sk_error_report",
    chain: &[
        Link {
            backend: Backend::TpBtf,
            needs: &[SOCK, SK_ERR],
            costs: None,
            programs: &[needed("error_report__btf", Attach::TpBtf("inet_sk_error_report"))],
        },
        Link {
            backend: Backend::RawTp,
            needs: &[SOCK, SK_ERR],
            costs: None,
            programs: &[needed("error_report__raw", Attach::RawTp("inet_sk_error_report"))],
        },
    ],
    without: Some(Lack {
        name: "no_error_report",
        cost: "no `error` events; the close still carries the error, where it can be read",
    }),
    lanes: &[Lanes { first: "error_report__btf", others: ["error_report__lane2", "error_report__lane3"] }],
    audit: &[Watch { audited: Audited::ErrorReport, name: "inet_sk_error_report", counter: "audit_error" }],
    ..Descriptor::USUAL
};
