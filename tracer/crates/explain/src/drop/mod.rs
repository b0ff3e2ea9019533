//! The reasons why the kernel dropped a packet: `enum skb_drop_reason` (include/net/dropreason-core.h) and the reasons
//! of the subsystems.

mod ip;
mod link;
mod mac80211;
mod openvswitch;
mod qdisc;
mod socket;
mod tcp;

use super::{DropClass, Entry, Family};

/// The tables.
pub(super) const TABLES: &[&[Entry]] =
    &[socket::TABLE, tcp::TABLE, ip::TABLE, link::TABLE, qdisc::TABLE, openvswitch::TABLE, mac80211::TABLE];

const RULES: &[&str] = &["ip -d link show DEV", "bpftool prog show"];

const fn drop(
    name: &'static str,
    class: DropClass,
    meaning: &'static str,
    causes: &'static [&'static str],
    look: &'static [&'static str],
) -> Entry {
    entry(Family::Drop, name, &[], class, meaning, causes, look)
}

const fn entry(
    family: Family,
    name: &'static str,
    also: &'static [&'static str],
    class: DropClass,
    meaning: &'static str,
    causes: &'static [&'static str],
    look: &'static [&'static str],
) -> Entry {
    Entry { family, name, also, class: Some(class), meaning, causes, look }
}
