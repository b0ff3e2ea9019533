//! Sent RST without a full socket, where the tracepoint does not report it.

use super::descriptor::{Attach, Backend, Descriptor, Lack, Link, Wanted, needed, optional};
use super::needs::SKB;

/// The hook.
pub const HOOK: Descriptor = Descriptor {
    name: "tcp_v4_send_reset",
    chain: &[
        Link {
            backend: Backend::Fentry,
            needs: &[SKB],
            costs: None,
            programs: &[
                needed("closed_port4__fentry", Attach::Fentry("tcp_v4_send_reset")),
                optional("closed_port6__fentry", Attach::Fentry("tcp_v6_send_reset")),
            ],
        },
        Link {
            backend: Backend::Kprobe,
            needs: &[SKB],
            costs: None,
            programs: &[
                needed("closed_port4__kprobe", Attach::Kprobe("tcp_v4_send_reset")),
                optional("closed_port6__kprobe", Attach::Kprobe("tcp_v6_send_reset")),
            ],
        },
    ],
    without: Some(Lack {
        name: "no_resets_for_nobody",
        cost: "RST sent for closed ports and for ended connections is not seen",
    }),
    wanted: Wanted::ResetsForNobody,
    ..Descriptor::USUAL
};
