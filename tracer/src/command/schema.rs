//! `tracer schema`: the JSON Schema (draft 2020-12) of every line of `--json`.
//!
//! The types that serde writes describe themselves; `Lines` puts the keys that a line takes from several types into
//! one closed object.

use std::io::{self, Write};

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::stream::{Cause, Kind, Line, Report, Socket, summary::Summary};
use crate::view::{doctor, drops, explain, net, sockets};

/// The dialect of the schema.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Where definitions are.
const DEFINITIONS: &str = "#/$defs/";

/// Words of the code, and those of the stream.
const WORDS: [(&str, &str); 4] = [
    ("`None`", "`null`"),
    ("[`ConnId::NONE`]", "`null`"),
    ("[`Close::sockmap`]", "`sockmap`"),
    (" Hostile bytes.", ""),
];

/// The kinds without the keys of a socket.
const OF_NO_SOCKET: [&str; 3] = ["finding", "lost", "process"];
/// The kinds with the keys of a socket only where they have one.
const MAYBE_OF_A_SOCKET: [&str; 2] = ["discard", "drop"];

/// Writes the schema to `out`.
///
/// # Errors
/// If `out` cannot be written.
pub fn write(out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &schema())?;
    out.write_all(b"\n")
}

/// Returns the schema: each line is one of its definitions.
#[must_use]
pub fn schema() -> Value {
    let mut lines = Lines::new();
    let kinds = lines.describe::<Kind<'_>>();
    for kind in kinds["oneOf"].as_array().into_iter().flatten() {
        let Some(event) = kind["properties"]["event"]["const"].as_str() else { continue };
        let mut line = lines.headed(event);
        if !OF_NO_SOCKET.contains(&event) {
            line.take(&lines.describe::<Socket<'_>>(), &lines, MAYBE_OF_A_SOCKET.contains(&event));
        }
        line.take(kind, &lines, false);
        lines.add(event, line, kind["description"].as_str().unwrap_or_default());
    }
    lines.line::<Summary>("summary", "summary", "The last line of a trace.");
    lines.line::<drops::DropRow<'_>>("drop_row", "drop", "A row of `tracer drops`.");
    lines.line::<drops::DiscardRow<'_>>("discard_row", "discard", "A counter in `tracer drops`.");
    lines.line::<Cause>("cause", "cause", "A cause, of `tracer why`.");
    lines.line::<net::NetLine<'_>>("net", "net", "A network namespace, of `tracer net`.");
    let mut socket = lines.headed("socket");
    socket.take(&lines.describe::<Socket<'_>>(), &lines, false);
    socket.take(&lines.describe::<sockets::SocketRow<'_>>(), &lines, false);
    // Sockets of other families have no addresses.
    for key in ["family", "laddr", "lport", "raddr", "rport"] {
        socket.required.retain(|required| required != key);
    }
    let change =
        json!({ "description": "With --watch: what became of it.", "enum": ["appeared", "changed", "vanished"] });
    socket.properties.insert("change".to_owned(), change);
    lines.add("socket", socket, "A socket, of `tracer sockets`.");
    lines.report::<doctor::Finding>("doctor", "A finding of `tracer doctor`.");
    lines.report::<explain::Explanation<'_>>("explain", "An explanation of a name, of `tracer explain`.");
    lines.report::<explain::FamilyLine<'_>>("family", "A family of names, of `tracer explain`.");
    lines.finish()
}

/// The definitions of lines.
struct Lines {
    generator: SchemaGenerator,
    /// The definition of each line, by name.
    lines: Vec<(String, Value)>,
}

impl Lines {
    fn new() -> Self {
        let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
        Self { generator, lines: Vec::new() }
    }

    /// Returns the description of a type.
    fn describe<T: JsonSchema>(&mut self) -> Value {
        T::json_schema(&mut self.generator).to_value()
    }

    /// Begins a line with the keys of all of them.
    fn headed(&mut self, event: &str) -> Object {
        let mut line = Object::default();
        line.take(&self.describe::<Line<'_, ()>>(), self, false);
        line.of(event);
        line
    }

    /// Adds the line that has the keys of `T`.
    fn line<T: JsonSchema>(&mut self, name: &str, event: &str, about: &str) {
        let mut line = self.headed(event);
        line.take(&self.describe::<T>(), self, false);
        self.add(name, line, about);
    }

    /// Adds a line without a time, of a command that reports no events.
    fn report<T: JsonSchema>(&mut self, event: &str, about: &str) {
        let mut line = Object::default();
        line.take(&self.describe::<Report<T>>(), self, false);
        line.of(event);
        self.add(event, line, about);
    }

    fn add(&mut self, name: &str, line: Object, about: &str) {
        self.lines.push((name.to_owned(), line.closed(about)));
    }

    fn finish(mut self) -> Value {
        let named = self.generator.take_definitions(true);
        let any_of: Vec<Value> =
            self.lines.iter().map(|(name, _)| json!({ "$ref": format!("{DEFINITIONS}{name}") })).collect();
        let mut definitions: Map<String, Value> = self.lines.into_iter().collect();
        let mut waiting: Vec<String> = definitions.values().flat_map(references).collect();
        while let Some(name) = waiting.pop() {
            if let Some(definition) = named.get(&name).filter(|_| !definitions.contains_key(&name)) {
                waiting.extend(references(definition));
                definitions.insert(name, definition.clone());
            }
        }
        definitions.values_mut().for_each(reword);
        json!({
            "$schema": DIALECT,
            "title": "tracer",
            "description": "Every line of --json is one of these objects. A later version may add keys and kinds.",
            "anyOf": any_of,
            "$defs": definitions,
        })
    }
}

/// Returns the names of the definitions that a schema refers to.
fn references(schema: &Value) -> Vec<String> {
    match schema {
        Value::Object(members) => members
            .iter()
            .flat_map(|(key, value)| match value.as_str().and_then(|path| path.strip_prefix(DEFINITIONS)) {
                Some(name) if key == "$ref" => vec![name.to_owned()],
                _ => references(value),
            })
            .collect(),
        Value::Array(elements) => elements.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// Turns descriptions for readers of the code into those for readers of the stream.
fn reword(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(text) if key == "description" => {
                        *text =
                            WORDS.iter().fold(text.replace('\n', " "), |text, (code, ours)| text.replace(code, ours));
                    }
                    value => reword(value),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(reword),
        _ => {}
    }
}

/// The keys of a line.
#[derive(Default)]
struct Object {
    properties: Map<String, Value>,
    required: Vec<String>,
}

impl Object {
    /// Takes the keys that `schema` describes; none is required if `optional`.
    fn take(&mut self, schema: &Value, lines: &Lines, optional: bool) {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix(DEFINITIONS))
            && let Some(definition) = lines.generator.definitions().get(name)
        {
            self.take(definition, lines, optional);
        }
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            self.properties.entry(key).or_insert_with(|| value.clone());
        }
        if !optional {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            for key in required {
                if !self.required.iter().any(|known| known == key) {
                    self.required.push(key.to_owned());
                }
            }
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.take(part, lines, optional);
        }
        for part in ["anyOf", "oneOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten() {
            self.take(part, lines, true);
        }
    }

    fn of(&mut self, event: &str) {
        self.properties.insert("event".to_owned(), json!({ "const": event }));
    }

    fn closed(self, about: &str) -> Value {
        json!({
            "description": about,
            "type": "object",
            "properties": self.properties,
            "required": self.required,
            "additionalProperties": false,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_line() {
        let schema = schema();
        let definitions = schema["$defs"].as_object().unwrap();
        for kind in Kind::NAMES.into_iter().chain(["summary", "cause", "socket", "net", "doctor", "explain", "family"])
        {
            let line = &definitions[kind];
            assert_eq!(line["properties"]["event"]["const"], kind);
            assert_eq!(line["additionalProperties"], false, "{kind}");
            assert!(line["required"].as_array().unwrap().contains(&json!("v")), "{kind}");
        }
        assert_eq!(definitions["drop_row"]["properties"]["event"]["const"], "drop");
    }

    #[test]
    fn every_reference_has_its_definition_and_no_definition_is_left_over() {
        let schema = schema();
        let used = references(&schema);
        for name in &used {
            assert!(schema["$defs"].get(name).is_some(), "{name}");
        }
        for name in schema["$defs"].as_object().unwrap().keys() {
            assert!(used.contains(name), "{name}");
        }
        let text = schema.to_string();
        assert!(!text.contains("`None`") && !text.contains("[`"), "words of the code");
    }
}
