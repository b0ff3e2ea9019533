//! Reads the names of drop and reset reasons from the kernel's type information.

use std::collections::HashMap;

use tracer_tables::reasons::Reasons;

use super::btf::Btf;

/// Enumerations of subsystems, by the name that `enum skb_drop_reason_subsys` gives the subsystem.
const SUBSYSTEMS: [(&str, &str); 4] = [
    ("MAC80211_UNUSABLE", "mac80211_drop_reason"),
    ("MAC80211_MONITOR", "mac80211_drop_reason"),
    ("OPENVSWITCH", "ovs_drop_reason"),
    ("QDISC", "qdisc_drop_reason"),
];

/// The enumerators of `enumeration`; none if it does not exist.
fn numbers<'b>(btf: &'b Btf, enumeration: &str) -> impl Iterator<Item = (u32, &'b str)> {
    let values = btf.enum_values(enumeration).into_iter().flatten();
    values.filter_map(|(name, value)| Some((u32::try_from(value).ok()?, name)))
}

/// Reads the names. Empty if the kernel has none.
#[must_use]
pub fn read(btf: &Btf) -> Reasons {
    let (mut drops, mut subsystems, mut resets) = (HashMap::new(), HashMap::new(), HashMap::new());
    for (number, name) in numbers(btf, "skb_drop_reason") {
        if let Some(name) = name.strip_prefix("SKB_DROP_REASON_").filter(|name| number <= 0xffff && *name != "MAX") {
            drops.insert(number, name.into());
        }
    }
    for (number, name) in numbers(btf, "skb_drop_reason_subsys") {
        if let Some(name) = name.strip_prefix("SKB_DROP_REASON_SUBSYS_").filter(|name| *name != "NUM") {
            subsystems.insert(number, Box::from(name));
        }
    }
    for (number, name) in numbers(btf, "sk_rst_reason") {
        if let Some(name) = name.strip_prefix("SK_RST_REASON_").filter(|name| *name != "MAX") {
            resets.insert(number, name.into());
        }
    }
    for (subsystem, enumeration) in SUBSYSTEMS {
        let Some(number) = subsystems.iter().find(|(_, name)| ***name == *subsystem).map(|(n, _)| *n) else {
            continue;
        };
        for (value, name) in numbers(btf, enumeration) {
            // The first ones are markers: `__QDISC_DROP_REASON`, `___RX_DROP_UNUSABLE`.
            if value >> 16 == number && number != 0 && !name.starts_with("__") && !name.ends_with("_MAX") {
                drops.insert(value, name.into());
            }
        }
    }
    Reasons::new(drops, subsystems, resets)
}
