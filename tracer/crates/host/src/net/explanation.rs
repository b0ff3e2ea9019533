//! The meaning of a counter.

use tracer_explain as explain;

/// Returns a sentence on the counter `name` (as `nstat` calls it); `None` if the tables lack it.
#[must_use]
pub fn explanation(name: &str) -> Option<&'static str> {
    explain::counter(name).map(|entry| entry.meaning)
}
