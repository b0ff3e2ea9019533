//! The end of every TCP socket.

use tracer_common::audit::Audited;

use super::descriptor::{Attach, Backend, Descriptor, Lack, Lanes, Link, Watch, needed};
use super::needs::{Need, needs};

const DESTROY_FORMAT: &[Need] = needs![destroy_format_skaddr];

/// The hook.
pub const HOOK: Descriptor = Descriptor {
    name: "tcp_destroy_sock",
    chain: &[
        Link {
            backend: Backend::TpBtf,
            needs: &[],
            costs: None,
            programs: &[needed("destroy__btf", Attach::TpBtf("tcp_destroy_sock"))],
        },
        Link {
            backend: Backend::RawTp,
            needs: &[],
            costs: None,
            programs: &[needed("destroy__raw", Attach::RawTp("tcp_destroy_sock"))],
        },
        Link {
            backend: Backend::Tracepoint,
            needs: &[DESTROY_FORMAT],
            costs: None,
            programs: &[needed("destroy__classic", Attach::Tracepoint("tcp", "tcp_destroy_sock"))],
        },
    ],
    without: Some(Lack { name: "no_destroy", cost: "a close that is missed is not recovered" }),
    lanes: &[Lanes { first: "destroy__btf", others: ["destroy__lane2", "destroy__lane3"] }],
    audit: &[Watch { audited: Audited::Destroy, name: "tcp_destroy_sock", counter: "audit_destroy" }],
    ..Descriptor::USUAL
};
