//! `tracer explain`: the meaning of a name, its usual causes, where to look next.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use crate::{
    cli::ExplainArgs,
    explain, stderr,
    view::{
        escape::Escaped,
        explain::{families, json, list, text},
        terminal::Columns,
    },
};

/// Prints the entries. Exit status 1 if a name is unknown.
///
/// # Errors
/// If stdout cannot be written.
pub fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let mut out = String::new();
    let mut status = ExitCode::SUCCESS;
    let columns = Columns::of(&io::stdout());
    match args.list {
        Some(family) => list(&mut out, family, args.json),
        None if args.names.is_empty() => families(&mut out, args.json, columns),
        None => {
            let color = args.color.enabled(&io::stdout());
            for (word, found) in args.names.iter().map(|word| (word, explain::lookup(word))) {
                if found.is_empty() {
                    stderr::line(unknown(word));
                    status = ExitCode::FAILURE;
                }
                for found in found {
                    if args.json { json(&mut out, found) } else { text(&mut out, found, columns, color) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_get_suggestions() {
        assert_eq!(unknown("NO_SOKET"), "`NO_SOKET` is not known; did you mean NO_SOCKET?");
        assert_eq!(unknown("\x1b[31m"), "`\\x1b[31m` is not known; `tracer explain --list` has all names");
    }
}
