//! accept and connect through io_uring.

use tracer_common::audit::Audited;

use super::descriptor::{Attach, Backend, Descriptor, Lack, Link, Watch, needed};
use super::needs::{FD, Need, SOCK, needs};

const IO_URING: &[Need] = needs![io_opcode, io_file];

/// The hook.
pub const HOOK: Descriptor = Descriptor {
    name: "io_uring_complete",
    chain: &[Link {
        backend: Backend::RawTp,
        needs: &[IO_URING, FD, SOCK],
        costs: None,
        programs: &[
            needed("io_uring_complete__raw", Attach::RawTp("io_uring_complete")),
            needed("io_uring_failed__raw", Attach::RawTp("io_uring_complete")),
        ],
    }],
    without: Some(Lack {
        name: "no_io_uring",
        cost: "accepts through io_uring are not seen, nor its immediate connect failures",
    }),
    audit: &[Watch { audited: Audited::IoUring, name: "io_uring_complete", counter: "audit_io_uring" }],
    beside_system_calls: true,
    verified: 3,
    ..Descriptor::USUAL
};
