//! Sets and maps, prepared for look-ups.

use std::collections::HashMap;

use tracer_tables::netlink::nftables::{Action, Element, Set, Value};

/// The answer of a set for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'s> {
    /// Unknown.
    Unknown,
    /// The key is not in it.
    Absent,
    /// The key is in it, with this value, and the chain that a verdict leads to.
    Present(&'s Value, Option<usize>),
}

/// A set or a map of a rule set.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// The set.
    pub set: Set,
    kind: Kind,
    catch_all: Option<usize>,
    /// The chain that each element's verdict leads to.
    to: Vec<Option<usize>>,
}

#[derive(Clone, Debug)]
enum Kind {
    Unknown,
    /// Elements by their keys.
    Exact(HashMap<Box<[u8]>, usize>),
    /// By their keys: the begin of an interval, or (`true`) its end.
    Intervals(Vec<(Box<[u8]>, bool, usize)>),
    /// First and last key; each part of a key lies between those of both.
    Ranges(Vec<usize>),
}

impl Lookup {
    /// `chain`: finds a chain of the set's table.
    pub fn new(mut set: Set, chain: impl Fn(&str) -> Option<usize>) -> Self {
        let elements = set.elements.take().filter(|_| !set.changing);
        let (kind, catch_all, to) = elements.as_ref().map_or((Kind::Unknown, None, Vec::new()), |elements| {
            let to = elements.iter().map(|element| match &element.value {
                Value::Verdict(Action::Jump(name) | Action::Goto(name)) => chain(name),
                _ => None,
            });
            let catch_all = elements.iter().position(|element| element.key.is_empty());
            (kind(&set, elements), catch_all, to.collect())
        });
        set.elements = elements;
        Self { set, kind, catch_all, to }
    }

    /// Bytes of a key.
    pub const fn key_length(&self) -> usize {
        self.set.key_length
    }

    /// The cost of one look-up, in steps.
    pub const fn cost(&self) -> usize {
        match &self.kind {
            Kind::Ranges(ranges) => 1 + ranges.len(),
            _ => 2,
        }
    }

    /// Looks up a key whose bytes are all known.
    pub fn find(&self, key: &[u8]) -> Answer<'_> {
        let elements = self.set.elements.as_deref().unwrap_or_default();
        let found = match &self.kind {
            Kind::Unknown => return Answer::Unknown,
            Kind::Exact(by_key) => by_key.get(key).copied(),
            Kind::Intervals(keys) => {
                let behind = keys.partition_point(|(first, ..)| **first <= *key);
                behind.checked_sub(1).and_then(|at| keys.get(at)).filter(|(_, ends, _)| !ends).map(|(.., at)| *at)
            }
            Kind::Ranges(ranges) => ranges
                .iter()
                .copied()
                .find(|at| elements.get(*at).is_some_and(|element| is_within(&self.set.fields, element, key))),
        };
        match found.or(self.catch_all).and_then(|at| Some((elements.get(at)?, self.to.get(at)?))) {
            Some((element, to)) => Answer::Present(&element.value, *to),
            None => Answer::Absent,
        }
    }
}

fn kind(set: &Set, elements: &[Element]) -> Kind {
    let keyed = || elements.iter().enumerate().filter(|(_, element)| !element.key.is_empty());
    if !set.interval {
        return Kind::Exact(keyed().map(|(at, element)| (element.key.clone(), at)).collect());
    }
    if !set.fields.is_empty() || keyed().any(|(_, element)| element.key_end.is_some()) {
        return Kind::Ranges(keyed().map(|(at, _)| at).collect());
    }
    let mut keys: Vec<_> = keyed().map(|(at, element)| (element.key.clone(), element.ends, at)).collect();
    // An interval may begin where another ends.
    keys.sort_by(|(a, a_ends, _), (b, b_ends, _)| a.cmp(b).then(b_ends.cmp(a_ends)));
    Kind::Intervals(keys)
}

fn is_within(fields: &[usize], element: &Element, key: &[u8]) -> bool {
    let end = element.key_end.as_ref().unwrap_or(&element.key);
    let whole = [key.len()];
    let mut at = 0;
    for length in if fields.is_empty() { &whole[..] } else { fields } {
        let part = |bytes: &[u8]| bytes.get(at..at + length).map(<[u8]>::to_vec);
        let (Some(first), Some(last), Some(own)) = (part(&element.key), part(end), part(key)) else { return false };
        if own < first || own > last {
            return false;
        }
        at += length.next_multiple_of(4);
    }
    true
}
