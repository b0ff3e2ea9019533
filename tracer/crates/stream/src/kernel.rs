//! How the kernel's own values are written: TCP states and directions come from the records.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::{Direction, TcpState, direction};

/// A TCP state by name.
pub struct State(TcpState);

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}

impl JsonSchema for State {
    fn schema_name() -> Cow<'static, str> {
        "tcp_state".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<_> = (0..=u8::MAX).filter_map(TcpState::from_number).map(TcpState::name).collect();
        json_schema!({ "description": "A TCP state, as the kernel names it.", "type": "string", "enum": names })
    }
}

/// Writes a state by name, for serde.
pub fn state<S: Serializer>(state: &TcpState, serializer: S) -> Result<S::Ok, S::Error> {
    State(*state).serialize(serializer)
}

/// Writes a state by name, for serde.
pub fn optional_state<S: Serializer>(state: &Option<TcpState>, serializer: S) -> Result<S::Ok, S::Error> {
    state.map(State).serialize(serializer)
}

/// The direction of a packet, by name.
#[derive(Clone, Copy)]
pub struct Way(pub Direction);

impl Serialize for Way {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        direction(self.0).serialize(serializer)
    }
}

impl JsonSchema for Way {
    fn schema_name() -> Cow<'static, str> {
        "direction".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "The way of a packet through this host; `null` if nothing shows it.", "enum": ["in", "out", "forward", null] })
    }
}
