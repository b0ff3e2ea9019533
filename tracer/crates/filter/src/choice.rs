//! Included and excluded values.

use serde::{Deserialize, Serialize};

use super::Answer;
use super::parse::Selector;

/// The values of one option, or-ed; a connection also fails if it has an excluded one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub struct Choice<T> {
    /// If there are any, the fact must be one of these.
    pub include: Vec<T>,
    /// The fact must be none of these.
    pub exclude: Vec<T>,
}

impl<T> Default for Choice<T> {
    fn default() -> Self {
        Self { include: Vec::new(), exclude: Vec::new() }
    }
}

impl<T: Clone> Choice<T> {
    /// The values as given on the command line.
    pub fn new(selectors: &[Selector<T>]) -> Self {
        let mut choice = Self::default();
        for selector in selectors {
            if selector.exclude { &mut choice.exclude } else { &mut choice.include }.push(selector.value.clone());
        }
        choice
    }
}

/// A fact about one side of a connection.
#[derive(Clone, Copy, Debug)]
pub enum Side<V> {
    /// This value.
    Known(V),
    /// There is no such fact (the remote side of a listener).
    Absent,
    /// Not known yet, or never.
    Unknown,
}

impl<V> Side<V> {
    /// A fact that may be unknown.
    pub fn of(fact: Option<V>) -> Self {
        fact.map_or(Self::Unknown, Self::Known)
    }
}

impl<T> Choice<T> {
    /// Whether no value was given: everything passes.
    pub fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Whether a known value passes.
    pub fn passes(&self, matches: impl Fn(&T) -> bool) -> bool {
        (self.include.is_empty() || self.include.iter().any(&matches)) && !self.exclude.iter().any(&matches)
    }

    /// Judges a fact that each of `sides` has: one of them must be included and none excluded.
    pub fn judge<V: Copy>(&self, sides: &[Side<V>], matches: impl Fn(&T, V) -> bool) -> Answer {
        if self.is_empty() {
            return Answer::Yes;
        }
        let hits = |list: &[T]| {
            sides.iter().any(|side| match *side {
                Side::Known(value) => list.iter().any(|item| matches(item, value)),
                Side::Absent | Side::Unknown => false,
            })
        };
        if hits(&self.exclude) {
            return Answer::No;
        }
        let included = self.include.is_empty() || hits(&self.include);
        let unknown = sides.iter().any(|side| matches!(side, Side::Unknown));
        match (included, unknown) {
            (false, true) => Answer::UnknownNo,
            (false, false) => Answer::No,
            (true, true) if !self.exclude.is_empty() => Answer::UnknownYes,
            (true, _) => Answer::Yes,
        }
    }
}
