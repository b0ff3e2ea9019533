//! How a watched counter is written down: by its name.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::counter::{self, Counter};

/// Writes its name.
pub fn serialize<S: Serializer>(counter: &&'static Counter, to: S) -> Result<S::Ok, S::Error> {
    counter.name.serialize(to)
}

/// Reads it.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<&'static Counter, D::Error> {
    let name = String::deserialize(from)?;
    counter::by_name(&name).ok_or_else(|| D::Error::custom(format!("{name:?} is no watched counter")))
}
