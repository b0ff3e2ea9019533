//! Sorts a mixed stream of rows by namespace.

use std::collections::HashMap;
use std::mem;

use super::gathered::Gathered;
use super::order::Key;
use super::row::Row;

/// The rows of each namespace.
#[derive(Debug)]
pub(super) struct ByNamespace {
    key: Option<Key>,
    parts: Vec<Gathered>,
    /// The index in `parts` of each namespace.
    places: HashMap<u32, usize>,
    /// The namespace of the last row, and its part: most often the next row is of the same namespace.
    last: (u32, usize),
}

impl ByNamespace {
    /// Makes an empty set whose parts will be in the order of `key`, with room for `rows` rows of `netns`.
    pub(super) fn new(key: Option<Key>, netns: u32, rows: usize) -> Self {
        let parts = vec![Gathered::with_room(key, rows)];
        Self { key, parts, places: HashMap::from([(netns, 0)]), last: (netns, 0) }
    }

    /// Appends a row.
    pub(super) fn push(&mut self, row: Row) {
        let part = self.part(row.netns);
        part.push(row);
    }

    /// Appends the rows of another set.
    pub(super) fn append(&mut self, mut other: Self) {
        for (netns, place) in mem::take(&mut other.places) {
            if let Some(rows) = other.parts.get_mut(place) {
                self.part(netns).append(mem::take(rows));
            }
        }
    }

    /// Returns the number of rows.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(Gathered::len).sum()
    }

    /// Whether the namespace has any rows.
    pub(super) fn has(&self, netns: u32) -> bool {
        self.places.get(&netns).and_then(|place| self.parts.get(*place)).is_some_and(|part| !part.is_empty())
    }

    /// Takes the rows of a namespace out.
    pub(super) fn take(&mut self, netns: u32) -> Gathered {
        let part = self.places.get(&netns).and_then(|place| self.parts.get_mut(*place));
        part.map_or_else(|| Gathered::new(self.key), |part| mem::replace(part, Gathered::new(self.key)))
    }

    fn part(&mut self, netns: u32) -> &mut Gathered {
        if self.last.0 != netns {
            let next = self.parts.len();
            self.last = (netns, *self.places.entry(netns).or_insert(next));
            if self.last.1 == next {
                self.parts.push(Gathered::new(self.key));
            }
        }
        &mut self.parts[self.last.1]
    }
}
