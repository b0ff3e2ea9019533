//! How a filter is written down: the forms of values that are constants of the program, or shared.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::choice::Choice;

/// Returns the constants among `all` that have these names.
fn constants<'de, D: Deserializer<'de>>(from: D, all: &[&'static str]) -> Result<Choice<&'static str>, D::Error> {
    let constant = |name: String| {
        let known = all.iter().find(|known| **known == name);
        known.copied().ok_or_else(|| D::Error::custom(format!("{name:?} is not known")))
    };
    let Choice { include, exclude } = Choice::<String>::deserialize(from)?;
    let constants = |names: Vec<String>| names.into_iter().map(constant).collect::<Result<_, _>>();
    Ok(Choice { include: constants(include)?, exclude: constants(exclude)? })
}

/// A field that chooses among protocols.
pub mod protocols {
    use super::*;
    use crate::args::PROTOCOLS;

    pub fn serialize<S: Serializer>(choice: &Choice<&'static str>, to: S) -> Result<S::Ok, S::Error> {
        choice.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Choice<&'static str>, D::Error> {
        constants(from, PROTOCOLS.all)
    }
}

/// A field that chooses among kinds of events.
pub mod events {
    use super::*;
    use tracer_stream::Kind;

    pub fn serialize<S: Serializer>(choice: &Choice<&'static str>, to: S) -> Result<S::Ok, S::Error> {
        choice.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Choice<&'static str>, D::Error> {
        constants(from, &Kind::NAMES)
    }
}

/// A field that has the inode numbers of a namespace, which copies of a filter share.
pub mod inodes {
    use super::*;

    pub fn serialize<S: Serializer>(inodes: &AtomicU64, to: S) -> Result<S::Ok, S::Error> {
        inodes.load(Ordering::Relaxed).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<AtomicU64>, D::Error> {
        u64::deserialize(from).map(|inodes| Arc::new(AtomicU64::new(inodes)))
    }
}
