//! Every screen, from fixed inputs, as people see it in terminals of several widths. `cargo insta accept`, or
//! `INSTA_UPDATE=always` for a run of the tests, takes over what has changed; read the difference first.

mod doctor;
mod drops;
mod explain;
mod live;
mod net;
mod sockets;
mod summary;
mod why;

use crate::escape;
use crate::terminal::Columns;

/// A name that a hostile process chose: it clears the screen, and turns the direction of writing.
const EVIL: &str = "\u{1b}[2Jx\u{202e}\n日本";

/// Compares what `screen` shows with what it showed before, in lines of 60, 80, 100 and 200 columns.
fn compare(name: &str, screen: impl Fn(Columns) -> String) {
    let mut all = String::new();
    for columns in [60, 80, 100, 200] {
        let shown = screen(Columns::new(columns));
        for line in shown.lines() {
            assert!(escape::width(line) <= columns, "{columns}: {line}");
        }
        all.push_str(&format!("{:─^columns$}\n{shown}", format!(" {columns} columns ")));
    }
    same(name, &all);
}

/// Compares lines of any length.
fn same(name: &str, shown: &str) {
    assert!(shown.chars().all(|c| c == '\n' || escape::is_plain(c)), "{shown:?}");
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, shown));
}
