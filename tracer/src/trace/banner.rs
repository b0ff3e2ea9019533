//! The lines before the first event: what is traced, by which hooks, and what is missing.

use std::io::{IsTerminal as _, stderr};

use super::Opened;
use crate::view::terminal::Columns;

/// The begin of each further line.
const BEGIN: &str = "tracer:   ";

/// The hooks, the missing features, and `tracer: ready`. `what`: what is traced, in words. Show it once the trace misses
/// no more events and signals. `brief`: without hooks and features.
#[must_use]
pub fn banner(opened: &Opened, what: &str, brief: bool) -> String {
    if brief {
        return format!("tracer: tracing {what}, Ctrl-C to end\ntracer: ready\n");
    }
    let backends: Vec<String> = opened
        .kernel
        .choices
        .iter()
        .filter_map(|choice| Some(format!("{} by {}", choice.hook.name(), choice.backend?)))
        .collect();
    let room = if stderr().is_terminal() { Columns::of(&stderr()).get() - BEGIN.len() } else { usize::MAX };
    let mut lines = vec![format!("tracer: tracing {what}, Ctrl-C to end\n")];
    lines.extend(wrapped(&backends, ", ", room.min(96)).iter().map(|line| format!("{BEGIN}{line}\n")));
    for degradation in &opened.degradations {
        let cost = wrapped(&[format!("{}: {}", degradation.name(), degradation.cost())], " ", room.min(92));
        lines.extend(cost.iter().map(|line| format!("{BEGIN}{line}\n")));
    }
    lines.push("tracer: ready\n".to_owned());
    lines.concat()
}

/// Wraps to at most `width` columns; breaks between parts, and within a part at its spaces.
fn wrapped(parts: &[String], separator: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for (index, part) in parts.iter().enumerate() {
        let glue = if index + 1 < parts.len() { separator.trim_end() } else { "" };
        for word in part.split(' ') {
            let last = part.ends_with(word);
            let word = if last { format!("{word}{glue}") } else { word.to_owned() };
            match lines.last_mut() {
                Some(line) if !line.is_empty() && line.len() + 1 + word.len() > width => lines.push(word),
                Some(line) if line.is_empty() => line.push_str(&word),
                Some(line) => {
                    line.push(' ');
                    line.push_str(&word);
                }
                None => {}
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_wrapped_and_nothing_is_lost() {
        let parts: Vec<String> = (0..9).map(|n| format!("hook_number_{n} by tracepoint")).collect();
        let lines = wrapped(&parts, ", ", 60);
        assert!(lines.len() > 2 && lines.iter().all(|line| line.len() <= 60), "{lines:?}");
        assert_eq!(lines.join(" "), parts.join(", "));
    }
}
