//! The schema that the tracer under test prints, and whether a line keeps to it.

use std::collections::HashMap;
use std::process::Command;
use std::sync::{LazyLock, OnceLock};

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::agent::tracer_program;

/// The definitions of lines by kind. A kind has two where `live` and `drops` differ.
type Kinds = HashMap<String, Vec<Definition>>;

static KINDS: LazyLock<Kinds> = LazyLock::new(|| {
    let out = Command::new(tracer_program()).arg("schema").output().expect("tracer starts");
    definitions(&serde_json::from_slice(&out.stdout).expect("the schema is JSON"))
});

/// The schema of one line. It is compiled when the first such line comes: most tests see few kinds.
struct Definition {
    schema: Value,
    compiled: OnceLock<Validator>,
}

impl Definition {
    fn validator(&self) -> &Validator {
        self.compiled.get_or_init(|| jsonschema::validator_for(&self.schema).expect("the schema is one"))
    }
}

fn definitions(schema: &Value) -> Kinds {
    let definitions = schema["$defs"].as_object().expect("the schema has definitions");
    let mut kinds = Kinds::new();
    for (name, line) in definitions {
        let Some(kind) = line["properties"]["event"]["const"].as_str() else { continue };
        let schema = json!({
            "$schema": schema["$schema"],
            "$ref": format!("#/$defs/{name}"),
            "$defs": schema["$defs"],
        });
        kinds.entry(kind.to_owned()).or_default().push(Definition { schema, compiled: OnceLock::new() });
    }
    kinds
}

/// Checks a line of `--json`.
///
/// # Panics
/// If it does not keep to the schema; with the path of what does not.
pub fn check(line: &Value) {
    if let Err(why) = judge(&KINDS, line) {
        panic!("a line is not as the schema says: {why}: {line}");
    }
}

fn judge(kinds: &Kinds, line: &Value) -> Result<(), String> {
    let kind = line["event"].as_str().unwrap_or_default();
    let definitions = kinds.get(kind).ok_or_else(|| format!("no line has the kind {kind:?}"))?;
    let validators: Vec<_> = definitions.iter().map(Definition::validator).collect();
    if validators.iter().any(|validator| validator.is_valid(line)) {
        return Ok(());
    }
    let why = validators.iter().flat_map(|validator| validator.iter_errors(line));
    Err(why.map(|error| format!("{}: {error}", error.instance_path())).collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds() -> Kinds {
        let lost = json!({
            "type": "object", "additionalProperties": false, "required": ["event", "count"],
            "properties": { "event": { "const": "lost" }, "count": { "$ref": "#/$defs/number" } },
        });
        let drop = |key: &str| {
            json!({
                "type": "object", "additionalProperties": false, "required": ["event", key],
                "properties": { "event": { "const": "drop" }, key: { "type": "string" } },
            })
        };
        definitions(&json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$defs": { "lost": lost, "drop": drop("one"), "row": drop("other"), "number": { "type": "integer" } },
        }))
    }

    #[test]
    fn a_good_line_passes() {
        for line in [
            json!({"event": "lost", "count": 1}),
            json!({"event": "drop", "one": ""}),
            json!({"event": "drop", "other": ""}),
        ] {
            assert_eq!(judge(&kinds(), &line), Ok(()));
        }
    }

    #[test]
    fn a_bad_line_is_refused_with_its_path() {
        for (line, part) in [
            (json!({"event": "lost"}), "count"),
            (json!({"event": "lost", "count": "1"}), "/count"),
            (json!({"event": "lost", "count": 1, "more": 2}), "more"),
            (json!({"event": "drop", "third": ""}), "third"),
            (json!({"event": "found"}), "found"),
            (json!({}), "kind"),
        ] {
            let why = judge(&kinds(), &line).unwrap_err();
            assert!(why.contains(part), "{line}: {why}");
        }
    }
}
