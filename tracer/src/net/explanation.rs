//! What a counter means.

use crate::explain;

/// A sentence on the counter `name` (as `nstat` calls it); `None` if there is none.
#[must_use]
pub fn explanation(name: &str) -> Option<&'static str> {
    explain::counter(name).map(|entry| entry.meaning)
}
