//! Drops without a reason (or with `NOT_SPECIFIED`), explained by the function that dropped them. The table has only
//! functions that drop for one cause, or for causes of one meaning; others stay unknown.

use tracer_stream::DropClass;

/// A function, the meaning of its drops, and their class.
const FUNCTIONS: [(&str, &str, DropClass); 24] = [
    ("neigh_invalidate", "no answer from the neighbour", DropClass::Loss),
    ("arp_process", "an ARP message that asks nothing of this host", DropClass::Noise),
    ("arp_rcv", "an ARP message that is not for this host, or malformed", DropClass::Noise),
    ("do_xdp_generic", "the XDP program of the device", DropClass::Policy),
    ("netif_receive_generic_xdp", "the XDP program of the device", DropClass::Policy),
    ("veth_xdp_rcv_skb", "the XDP program of the device", DropClass::Policy),
    ("veth_poll", "the XDP program of the device", DropClass::Policy),
    ("sch_handle_ingress", "a filter on ingress of the device", DropClass::Policy),
    ("sch_handle_egress", "a filter on egress of the device", DropClass::Policy),
    ("ip_forward", "it may not be forwarded, or was not meant for this host", DropClass::Loss),
    ("ip_error", "there is no route or one that refuses, or this host does not forward", DropClass::Loss),
    ("ip6_forward", "it may not be forwarded, or was not meant for this host", DropClass::Loss),
    (
        "tun_net_xmit",
        "the program behind the device does not take it: closed, too slow, or by its filter",
        DropClass::Loss,
    ),
    ("tun_queue_purge", "the program behind the device has closed it before it took this", DropClass::Loss),
    ("packet_rcv", "a copy for a packet socket, which did not want it or had no room", DropClass::Noise),
    ("tpacket_rcv", "a copy for a packet socket, which did not want it or had no room", DropClass::Noise),
    ("igmp_rcv", "a message about multicast groups", DropClass::Noise),
    ("ip6_mc_input", "to a multicast group that this host has not joined", DropClass::Noise),
    ("sk_stream_kill_queues", "it waited in a socket that was closed", DropClass::Teardown),
    ("inet_sock_destruct", "it waited in a socket that was closed", DropClass::Teardown),
    ("tcp_write_queue_purge", "it waited in a socket that was closed", DropClass::Teardown),
    ("skb_rbtree_purge", "it waited in a socket that was closed", DropClass::Teardown),
    ("inet_csk_complete_hashdance", "the listener was closed before the handshake ended", DropClass::Teardown),
    ("ip_mc_forward", "to a multicast group that is not forwarded here", DropClass::Noise),
];

/// The meaning of a drop in this function.
#[must_use]
pub fn meaning(function: &str) -> Option<&'static str> {
    find(function).map(|(_, meaning, _)| *meaning)
}

/// The class of a drop in this function.
#[must_use]
pub fn class(function: &str) -> Option<DropClass> {
    find(function).map(|(.., class)| *class)
}

fn find(function: &str) -> Option<&'static (&'static str, &'static str, DropClass)> {
    FUNCTIONS.iter().find(|(name, ..)| *name == function)
}
