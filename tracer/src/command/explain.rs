//! `tracer explain`: the meaning of a name, its usual causes, where to look next.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    cli::ExplainArgs,
    explain::{self, DropClass, Entry, Family, Found, kernels},
    present::{
        escape::{Escaped, width},
        json,
        text::COLUMNS,
    },
    stderr,
    stream::Report,
};

/// Columns before the text of a field.
const INDENT: usize = 11;

/// Prints the entries. Exit status 1 if a name is unknown.
///
/// # Errors
/// If stdout cannot be written.
pub fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let mut out = String::new();
    let mut status = ExitCode::SUCCESS;
    match args.list {
        Some(family) => list(&mut out, family, args.json),
        None if args.names.is_empty() => families(&mut out, args.json),
        None => {
            let color = args.color.enabled(&io::stdout());
            for (word, found) in args.names.iter().map(|word| (word, explain::lookup(word))) {
                if found.is_empty() {
                    stderr::line(unknown(word));
                    status = ExitCode::FAILURE;
                }
                for found in found {
                    if args.json { json(&mut out, found) } else { text(&mut out, found, color) }
                }
            }
        }
    }
    match io::stdout().write_all(out.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(super::unwritable("explanation", error)),
        _ => Ok(status),
    }
}

fn unknown(word: &str) -> String {
    let mut like: Vec<&str> = explain::suggestions(word).into_iter().map(explain::short).collect();
    // A reason for drops and one for resets may have the same name.
    like.dedup();
    let word = Escaped(word);
    if like.is_empty() {
        format!("`{word}` is not known; `tracer explain --list` has all names")
    } else {
        format!("`{word}` is not known; did you mean {}?", like.join(", "))
    }
}

/// Returns all names of a family, in the order of the tables.
fn names(family: Family) -> impl Iterator<Item = Found> {
    let entries = explain::entries().filter(move |entry| entry.family == family);
    entries.flat_map(|entry| entry.names().map(move |name| Found { entry, name }))
}

fn list(out: &mut String, family: Option<Family>, as_json: bool) {
    for found in Family::ALL.into_iter().filter(|other| family.is_none_or(|family| family == *other)).flat_map(names) {
        if as_json {
            json(out, found);
        } else {
            out.push_str(found.name);
            out.push('\n');
        }
    }
}

fn families(out: &mut String, as_json: bool) {
    if !as_json {
        out.push_str("FAMILY       NAMES  WHAT\n");
    }
    for family in Family::ALL {
        let (count, what) = (names(family).count(), family.about());
        if as_json {
            line(out, &Report::new("family", FamilyLine { family: family.name(), names: count, what }));
        } else {
            out.push_str(&format!("{:<12} {count:>5}  {what}\n", family.name()));
        }
    }
    if !as_json {
        out.push_str("\n`tracer explain NAME` explains one, `tracer explain --list FAMILY` names them all.\n");
    }
}

/// A family of names.
#[derive(Serialize, JsonSchema)]
pub struct FamilyLine<'a> {
    /// Its name, which `--list` takes.
    family: &'a str,
    /// How many names it has.
    names: usize,
    /// What they are.
    what: &'a str,
}

/// An explanation.
#[derive(Serialize, JsonSchema)]
pub struct Explanation<'a> {
    /// The name.
    name: &'a str,
    /// Its family.
    family: &'a str,
    /// Of a drop reason: the class.
    class: Option<&'a str>,
    /// What it means.
    meaning: &'a str,
    /// What usually causes it.
    causes: &'a [&'a str],
    /// What to look at next.
    look: &'a [&'a str],
    /// Its other names.
    also: Vec<&'a str>,
    /// The kernels that have the name; `null` if all have it.
    kernels: Option<Vec<&'a str>>,
}

fn line<T: Serialize>(out: &mut String, object: &T) {
    let mut json = Vec::new();
    json::line(&mut json, object);
    out.push_str(&String::from_utf8_lossy(&json));
}

fn json(out: &mut String, Found { entry, name }: Found) {
    let explanation = Explanation {
        name,
        family: entry.family.name(),
        class: entry.class.map(DropClass::name),
        meaning: entry.meaning,
        causes: entry.causes,
        look: entry.look,
        also: entry.names().filter(|other| *other != name).collect(),
        kernels: kernels::having(entry, name).map(|kernels| kernels.into_iter().collect()),
    };
    line(out, &Report::new("explain", explanation));
}

fn text(out: &mut String, Found { entry, name }: Found, color: bool) {
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(&format!("{name}  {}", entry.family.title()));
    if let Some(class) = entry.class {
        let (begin, end) = if color { (sequence(class), "\x1b[0m") } else { ("", "") };
        out.push_str(&format!(", class {begin}{}{end}", class.name()));
    }
    out.push('\n');
    field(out, "means", &[entry.meaning]);
    field(out, "causes", entry.causes);
    field(out, "look", entry.look);
    if let Some(present) = presence(entry, name) {
        field(out, "kernels", &[&present]);
    }
    let also: Vec<&str> = entry.names().filter(|other| *other != name).collect();
    if !also.is_empty() {
        field(out, "also", &[&also.join(", ")]);
    }
}

/// Returns the terminal's sequence; the colours are from the user's own palette.
fn sequence(class: DropClass) -> &'static str {
    match class {
        DropClass::Loss => "\x1b[31m",
        DropClass::Policy | DropClass::Refused => "\x1b[33m",
        DropClass::Teardown | DropClass::Noise => "\x1b[2m",
    }
}

/// Returns the kernels that have the name; `None` if all with known names of that kind do.
fn presence(entry: &Entry, name: &str) -> Option<String> {
    let kind = kernels::kind(entry.family)?;
    let having = kernels::having(entry, name)?;
    let known: Vec<&str> = kernels::KERNELS
        .into_iter()
        .filter(|(_, list)| kernels::names(list, kind).next().is_some())
        .map(|(version, _)| version)
        .collect();
    (having != known).then(|| format!("{}; looked for in {}", having.join(", "), known.join(", ")))
}

/// Appends the name of a field, and its items, each on lines of its own.
fn field(out: &mut String, title: &str, items: &[&str]) {
    let mut title = title;
    for item in items {
        // Further lines of an item are indented by 2 more.
        let mut used = INDENT;
        out.push_str(&format!("  {title:<0$}", INDENT - 2));
        for (index, word) in item.split(' ').enumerate() {
            let columns = width(word);
            if index > 0 && used + 1 + columns > COLUMNS {
                out.push_str(&format!("\n{:1$}", "", INDENT + 2));
                used = INDENT + 2;
            } else if index > 0 {
                out.push(' ');
                used += 1;
            }
            out.push_str(word);
            used += columns;
        }
        out.push('\n');
        title = "";
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::Value;

    use super::*;

    fn shown(word: &str, color: bool) -> String {
        let mut out = String::new();
        for found in explain::lookup(word) {
            text(&mut out, found, color);
        }
        out
    }

    #[test]
    fn text_is_calm() {
        let shown = shown("tcp_listen_overflow", false);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "SKB_DROP_REASON_TCP_LISTEN_OVERFLOW  drop reason, class loss");
        assert!(lines[1].starts_with("  means    The handshake is complete"), "{shown}");
        assert!(lines[2].starts_with("             "), "{shown}");
        assert!(shown.contains("\n  look     ss -lnt  # "), "{shown}");
        assert!(shown.contains("\n  kernels  6.18, 7.3; looked for in 6.1, 6.12, 6.18, 7.3\n"), "{shown}");
    }

    #[test]
    fn no_line_is_too_long() {
        for found in Family::ALL.into_iter().flat_map(names) {
            let mut out = String::new();
            text(&mut out, found, false);
            for line in out.lines() {
                // A word is never cut.
                assert!(width(line) <= COLUMNS || line.trim_start().split(' ').count() == 1, "{line}");
                assert!(!line.ends_with(' '), "{line:?}");
            }
        }
    }

    #[test]
    fn ambiguous_names_are_told_apart() {
        let shown = shown("TCP_CLOSE", false);
        assert!(shown.contains("SKB_DROP_REASON_TCP_CLOSE  drop reason, class teardown"), "{shown}");
        assert!(shown.contains("\n\nCLOSE  TCP state\n"), "{shown}");
    }

    #[test]
    fn colour_is_for_the_class() {
        assert!(shown("NO_SOCKET", true).contains("class \x1b[33mrefused\x1b[0m"));
        assert!(!shown("NO_SOCKET", false).contains('\x1b'));
        assert!(!shown("ESTABLISHED", true).contains('\x1b'));
    }

    #[test]
    fn every_object_is_json_with_all_keys() {
        let mut out = String::new();
        list(&mut out, None, true);
        for line in out.lines() {
            let object: Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| object[key].as_str().unwrap();
            assert_eq!(object["v"], 1);
            assert!(!text("name").is_empty() && !text("family").is_empty() && !text("meaning").is_empty());
            assert!(!object["causes"].as_array().unwrap().is_empty());
            assert!(!object["look"].as_array().unwrap().is_empty());
            assert!(object["class"].is_string() || object["class"].is_null());
        }
        let mut names = String::new();
        list(&mut names, None, false);
        assert_eq!(names.lines().count(), out.lines().count());
    }

    #[test]
    fn the_families_are_counted() {
        let mut out = String::new();
        families(&mut out, false);
        for family in Family::ALL {
            assert_eq!(Family::named(family.name()), Some(family));
            let line = out.lines().find(|line| line.starts_with(family.name())).unwrap();
            assert!(line.contains(&format!(" {} ", names(family).count())), "{line}");
        }
        let mut out = String::new();
        families(&mut out, true);
        assert!(out.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    }

    #[test]
    fn unknown_names_get_suggestions() {
        assert_eq!(unknown("NO_SOKET"), "`NO_SOKET` is not known; did you mean NO_SOCKET?");
        assert_eq!(unknown("\x1b[31m"), "`\\x1b[31m` is not known; `tracer explain --list` has all names");
    }
}
