//! Reasons of `enum ovs_drop_reason` (net/openvswitch/drop.h).

use crate::DropClass::{Loss, Noise, Policy};
use crate::{DropClass, Entry, Family};

use super::entry;

const FLOWS: &[&str] =
    &["ovs-appctl dpctl/dump-flows -m", "ovs-appctl ofproto/trace BRIDGE FLOW", "ovs-appctl dpctl/show -s"];

const fn ovs(
    name: &'static str,
    class: DropClass,
    meaning: &'static str,
    causes: &'static [&'static str],
    look: &'static [&'static str],
) -> Entry {
    entry(Family::Openvswitch, name, &[], class, meaning, causes, look)
}

/// The entries.
pub const TABLE: &[Entry] = &[
    entry(
        Family::Openvswitch,
        "OVS_DROP_MAX",
        &["__OVS_DROP_REASON"],
        Noise,
        "A mark of the enumeration (the base of the numbers or their end), not a reason.",
        &["A tool that does not know this kernel's numbers"],
        FLOWS,
    ),
    ovs(
        "OVS_DROP_LAST_ACTION",
        Policy,
        "The flow ended without an action that sends the packet on: Open vSwitch's way to drop.",
        &[
            "An OpenFlow rule without output, or the default of a table",
            "A flow whose last action does not consume the packet",
        ],
        FLOWS,
    ),
    ovs(
        "OVS_DROP_ACTION_ERROR",
        Loss,
        "An action of the flow failed.",
        &["A packet too short for the header that should be changed", "Memory was short"],
        FLOWS,
    ),
    ovs(
        "OVS_DROP_EXPLICIT",
        Policy,
        "A drop action of the flow asked for it.",
        &["An OpenFlow rule that drops: a security group, an ACL"],
        FLOWS,
    ),
    ovs(
        "OVS_DROP_EXPLICIT_WITH_ERROR",
        Policy,
        "A drop action that carries an error: ovs-vswitchd could not translate the flow.",
        &["Too deep a recursion of OpenFlow tables", "A recirculation without context, for example after a restart"],
        &["ovs-appctl coverage/show", "ovs-appctl ofproto/trace BRIDGE FLOW", "journalctl -u ovs-vswitchd"],
    ),
    ovs(
        "OVS_DROP_METER",
        Policy,
        "A meter is over its rate.",
        &["A configured rate limit", "Upcalls limited by a meter of the controller"],
        &["ovs-ofctl -O OpenFlow13 meter-stats BRIDGE", "ovs-appctl dpctl/dump-flows -m"],
    ),
    ovs(
        "OVS_DROP_RECURSION_LIMIT",
        Loss,
        "Actions are nested too deeply.",
        &["Flows that recirculate in a circle"],
        FLOWS,
    ),
    ovs(
        "OVS_DROP_DEFERRED_LIMIT",
        Loss,
        "Too many actions were put off for this packet.",
        &["Flows with very many samples, clones or recirculations"],
        FLOWS,
    ),
    ovs(
        "OVS_DROP_FRAG_L2_TOO_LONG",
        Loss,
        "The packet has to be fragmented, and its link-layer header is longer than can be kept.",
        &["Deeply stacked tags or encapsulations"],
        &["ip link show", "ovs-appctl dpctl/show -s"],
    ),
    ovs(
        "OVS_DROP_FRAG_INVALID_PROTO",
        Loss,
        "The packet has to be fragmented, and is neither IPv4 nor IPv6.",
        &["A port with a smaller MTU than the others"],
        &["ip link show", "ovs-appctl dpctl/show -s"],
    ),
    ovs(
        "OVS_DROP_CONNTRACK",
        Loss,
        "The ct action failed.",
        &["The conntrack table or its zone limit is full", "An invalid packet"],
        &[
            "ovs-appctl dpctl/ct-stats-show",
            "ovs-appctl dpctl/ct-get-limits",
            "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max",
        ],
    ),
    ovs(
        "OVS_DROP_IP_TTL",
        Loss,
        "The TTL or hop limit ran out in a dec_ttl action.",
        &["A routing loop", "traceroute through a virtual router"],
        FLOWS,
    ),
];
