//! `tracer explain`: an entry as text and as an object, and lists of names.

use schemars::JsonSchema;
use serde::Serialize;

use tracer_explain::{DropClass, Entry, Family, Found, entries, kernels};
use tracer_stream::Report;

use crate::escape;
use crate::ink::Ink;
use crate::json;
use crate::terminal::Columns;
use crate::wrap::Paragraph;

/// Columns before the text of a field.
const INDENT: usize = 11;
/// Columns before what a family is.
const FAMILY: usize = 20;

/// Returns all names of a family, in the order of the tables.
fn names(family: Family) -> impl Iterator<Item = Found> {
    let entries = entries().filter(move |entry| entry.family == family);
    entries.flat_map(|entry| entry.names().map(move |name| Found { entry, name }))
}

/// Appends the names of a family, or of all, a line each.
pub fn list(out: &mut String, family: Option<Family>, as_json: bool) {
    for found in Family::ALL.into_iter().filter(|other| family.is_none_or(|family| family == *other)).flat_map(names) {
        if as_json {
            json(out, found);
        } else {
            out.push_str(found.name);
            out.push('\n');
        }
    }
}

/// Appends the families.
pub fn families(out: &mut String, as_json: bool, columns: Columns) {
    if !as_json {
        out.push_str("FAMILY       NAMES  WHAT\n");
    }
    for family in Family::ALL {
        let (count, what) = (names(family).count(), family.about());
        if as_json {
            line(out, &Report::new("family", FamilyLine { family: family.name(), names: count, what }));
        } else {
            out.push_str(&format!("{:<12} {count:>5}  ", family.name()));
            Paragraph { first: FAMILY, rest: FAMILY, columns: columns.get() }.push(out, what);
            out.push('\n');
        }
    }
    if !as_json {
        out.push('\n');
        let next = "`tracer explain NAME` explains one, `tracer explain --list FAMILY` names them all.";
        Paragraph { first: 0, rest: 0, columns: columns.get() }.push(out, next);
        out.push('\n');
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

/// Appends the entry as an object.
pub fn json(out: &mut String, Found { entry, name }: Found) {
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

/// Appends the entry as text.
pub fn text(out: &mut String, Found { entry, name }: Found, columns: Columns, color: bool) {
    if !out.is_empty() {
        out.push('\n');
    }
    let title = entry.family.title();
    let class = entry.class.map_or("", DropClass::name);
    let width = [name, title, ", class ", class].map(escape::width).into_iter().sum::<usize>() + 2;
    out.push_str(name);
    out.push_str(if width > columns.get() { "\n  " } else { "  " });
    out.push_str(title);
    if let Some(class) = entry.class {
        out.push_str(", class ");
        Ink::from(class).paint(out, color, |out| out.push_str(class.name()));
    }
    out.push('\n');
    field(out, columns, "means", &[entry.meaning]);
    field(out, columns, "causes", entry.causes);
    field(out, columns, "look", entry.look);
    if let Some(present) = presence(entry, name) {
        field(out, columns, "kernels", &[&present]);
    }
    let also: Vec<&str> = entry.names().filter(|other| *other != name).collect();
    if !also.is_empty() {
        field(out, columns, "also", &[&also.join(", ")]);
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
fn field(out: &mut String, columns: Columns, title: &str, items: &[&str]) {
    let mut title = title;
    for item in items {
        out.push_str(&format!("  {title:<0$}", INDENT - 2));
        // Further lines of an item are indented by 2 more.
        Paragraph { first: INDENT, rest: INDENT + 2, columns: columns.get() }.push(out, item);
        out.push('\n');
        title = "";
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::escape::width;

    fn shown(word: &str, color: bool) -> String {
        let mut out = String::new();
        for found in tracer_explain::lookup(word) {
            text(&mut out, found, Columns::PIPE, color);
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
            for columns in [60, 80, 100] {
                let mut out = String::new();
                text(&mut out, found, Columns::new(columns), false);
                for line in out.lines() {
                    assert!(width(line) <= columns, "{line}");
                    assert!(!line.ends_with(' '), "{line:?}");
                }
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
        assert!(shown("NO_SOCKET", true).contains("class \x1b[31mrefused\x1b[0m"));
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
        families(&mut out, false, Columns::PIPE);
        for family in Family::ALL {
            let line = out.lines().find(|line| line.starts_with(family.name())).unwrap();
            assert!(line.contains(&format!(" {} ", names(family).count())), "{line}");
        }
        let mut out = String::new();
        families(&mut out, true, Columns::PIPE);
        assert!(out.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    }
}
