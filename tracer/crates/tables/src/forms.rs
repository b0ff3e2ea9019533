//! How tables are written down: the forms of types that have none of their own.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use tracer_common::record::Tuple;

use crate::discards::counter::{self, Counter};

/// A field that is one of the watched counters.
pub mod watched {
    use super::*;

    /// Writes its name.
    pub fn serialize<S: Serializer>(counter: &&'static Counter, to: S) -> Result<S::Ok, S::Error> {
        counter.name.serialize(to)
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<&'static Counter, D::Error> {
        let name = String::deserialize(from)?;
        counter::by_name(&name).ok_or_else(|| D::Error::custom(format!("{name:?} is no watched counter")))
    }
}

/// [`Tuple`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Tuple")]
pub struct TupleForm {
    laddr: [u32; 4],
    raddr: [u32; 4],
    lport: u16,
    rport: u16,
    family: u8,
    reserved: [u8; 3],
    netns: u32,
    ifindex: u32,
}
