//! The names of drop and reset reasons in the running kernel.
//!
//! The numbers change with nearly every release, and those of subsystems (in the high sixteen bits) with them: so there
//! is no table.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// Names by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reasons {
    drops: HashMap<u32, Box<str>>,
    subsystems: HashMap<u32, Box<str>>,
    resets: HashMap<u32, Box<str>>,
}

impl Reasons {
    /// The names of drop reasons, of their subsystems, and of reset reasons.
    #[must_use]
    pub const fn new(
        drops: HashMap<u32, Box<str>>,
        subsystems: HashMap<u32, Box<str>>,
        resets: HashMap<u32, Box<str>>,
    ) -> Self {
        Self { drops, subsystems, resets }
    }

    /// With these drop reasons.
    #[cfg(any(test, feature = "sample"))]
    #[must_use]
    pub fn of(drops: &[(u32, &str)]) -> Self {
        let drops = drops.iter().map(|(number, name)| (*number, (*name).into())).collect();
        Self { drops, ..Self::default() }
    }

    /// The name of a drop reason; of an unnamed one its subsystem and number.
    #[must_use]
    pub fn drop(&self, reason: u32) -> Box<str> {
        if let Some(name) = self.drops.get(&reason) {
            return name.clone();
        }
        match self.subsystems.get(&(reason >> 16)) {
            Some(subsystem) if reason > 0xffff => format!("{subsystem}_{}", reason & 0xffff).into(),
            _ => format!("REASON_{reason}").into(),
        }
    }

    /// The name of a reset reason.
    #[must_use]
    pub fn reset(&self, reason: u32) -> Option<&str> {
        self.resets.get(&reason).map(|name| &**name)
    }

    /// The numbers of the drop reasons called `name`; of an unnamed one, by the name that [`Reasons::drop`] gives it.
    #[must_use]
    pub fn drop_numbers(&self, name: &str) -> Vec<u32> {
        let named = self.drops.iter().filter(|(_, known)| ***known == *name);
        let mut numbers: Vec<u32> = named.map(|(number, _)| *number).collect();
        if let Some((head, number)) = name.rsplit_once('_')
            && let Ok(number) = number.parse::<u32>()
        {
            let of_subsystems = self.subsystems.iter().filter(|(_, known)| ***known == *head);
            let of_subsystems = of_subsystems.map(|(subsystem, _)| subsystem << 16 | number);
            let numbered = of_subsystems.chain((head == "REASON").then_some(number));
            numbers.extend(numbered.filter(|number| *self.drop(*number) == *name));
        }
        numbers
    }

    /// Every drop reason with a name.
    pub fn drops(&self) -> impl Iterator<Item = (u32, &str)> {
        self.drops.iter().map(|(number, name)| (*number, &**name))
    }

    /// Whether a reset reason has this name.
    #[must_use]
    pub fn has_reset(&self, name: &str) -> bool {
        self.resets.values().any(|known| **known == *name)
    }

    /// Every name of a drop or a reset reason.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.drops.values().chain(self.resets.values()).map(|name| &**name)
    }

    /// Every name of a drop reason, sorted.
    #[must_use]
    pub fn drop_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.drops.values().map(|name| &**name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_name_says_where_it_comes_from() {
        let mut reasons = Reasons::default();
        reasons.drops.insert(12, "NETFILTER_DROP".into());
        reasons.subsystems.insert(2, "OPENVSWITCH".into());
        assert_eq!(&*reasons.drop(12), "NETFILTER_DROP");
        assert_eq!(&*reasons.drop(0x2_0007), "OPENVSWITCH_7");
        assert_eq!(&*reasons.drop(0x9_0007), "REASON_589831");
        assert_eq!(&*reasons.drop(900), "REASON_900");
        assert_eq!(reasons.reset(1), None);
        for number in [12, 0x2_0007, 0x9_0007, 900] {
            assert_eq!(reasons.drop_numbers(&reasons.drop(number)), [number]);
        }
        for name in ["NO_SOCKET", "REASON_12", "REASON_131079", "OPENVSWITCH_x", "NETFILTER", "7"] {
            assert!(reasons.drop_numbers(name).is_empty(), "{name}");
        }
    }
}
