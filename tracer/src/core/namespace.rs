//! Sockets of the snapshot by their tuple, for records that may not know their network namespace.
//!
//! Without the kernel's type information a record has no namespace (0). Then a socket is meant that
//! agrees in all else, if there is only one.

use std::collections::HashMap;

use tracer_common::record::Tuple;

use super::connection::TupleKey;

impl TupleKey {
    /// The same in a namespace that is not known.
    #[must_use]
    pub const fn anywhere(&self) -> Self {
        Self { netns: 0, ..*self }
    }
}

/// The only one of `keys` that agrees with `key`, whatever its namespace.
pub fn the_one<'a>(key: &TupleKey, keys: impl Iterator<Item = &'a TupleKey>) -> Option<TupleKey> {
    let mut same = keys.filter(|other| other.anywhere() == key.anywhere());
    let first = same.next()?;
    same.next().is_none().then_some(*first)
}

/// Seeded connections that no record has named yet.
#[derive(Debug, Default)]
pub struct Seeds {
    by_tuple: HashMap<TupleKey, u64>,
    /// Filled when the first record without a namespace comes.
    anywhere: HashMap<TupleKey, Vec<TupleKey>>,
}

impl Seeds {
    /// Adds one.
    pub fn insert(&mut self, key: TupleKey, id: u64) {
        self.by_tuple.insert(key, id);
        if !self.anywhere.is_empty() {
            self.anywhere.entry(key.anywhere()).or_default().push(key);
        }
    }

    /// Whether there is one.
    #[must_use]
    pub fn contains(&self, key: &TupleKey) -> bool {
        self.by_tuple.contains_key(key)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.by_tuple.clear();
        self.anywhere.clear();
    }

    /// Takes the one that a record with this tuple means.
    ///
    /// # Errors
    /// All that it can mean, if there are several: none is taken.
    pub fn take(&mut self, tuple: &Tuple) -> Result<Option<u64>, Vec<u64>> {
        let key = TupleKey::from(tuple);
        if key.netns != 0 {
            return Ok(self.by_tuple.remove(&key));
        }
        if self.anywhere.is_empty() {
            for key in self.by_tuple.keys() {
                self.anywhere.entry(key.anywhere()).or_default().push(*key);
            }
        }
        let Some(candidates) = self.anywhere.get(&key) else { return Ok(None) };
        let mut ids = candidates.iter().filter_map(|key| self.by_tuple.get(key)).copied();
        let first = ids.next();
        let others: Vec<u64> = ids.collect();
        match (first, candidates.first()) {
            (Some(id), Some(only)) if others.is_empty() => {
                self.by_tuple.remove(only);
                self.anywhere.remove(&key);
                Ok(Some(id))
            }
            (first, _) => Err(first.into_iter().chain(others).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(netns: u32, lport: u16) -> Tuple {
        Tuple { laddr: [1; 4], raddr: [2; 4], lport, rport: 80, family: 4, reserved: [0; 3], netns, ifindex: 0 }
    }

    fn seeds() -> Seeds {
        let mut seeds = Seeds::default();
        for (id, tuple) in [(1, tuple(7, 1000)), (2, tuple(7, 1001)), (3, tuple(8, 1001))] {
            seeds.insert((&tuple).into(), id);
        }
        seeds
    }

    #[test]
    fn a_record_with_its_namespace_means_one() {
        let mut seeds = seeds();
        assert_eq!(seeds.take(&tuple(8, 1001)), Ok(Some(3)));
        assert_eq!(seeds.take(&tuple(8, 1001)), Ok(None));
        assert_eq!(seeds.take(&tuple(9, 1000)), Ok(None));
    }

    #[test]
    fn a_record_without_one_means_what_it_can_only_mean() {
        let mut seeds = seeds();
        assert_eq!(seeds.take(&tuple(0, 1000)), Ok(Some(1)));
        assert_eq!(seeds.take(&tuple(0, 1000)), Ok(None));
        assert_eq!(seeds.take(&tuple(0, 1001)).map_err(|several| several.len()), Err(2));
        assert_eq!(seeds.take(&tuple(0, 1002)), Ok(None));
        assert_eq!(the_one(&(&tuple(0, 1001)).into(), seeds.by_tuple.keys()), None);
    }
}
