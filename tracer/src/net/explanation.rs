//! What a counter means, in one line.

use super::health::counters;

/// One line on the counter `name` (as `nstat` calls it); `None` if there is none.
#[must_use]
pub fn explanation(name: &str) -> Option<&'static str> {
    counters::RULES.iter().find(|rule| rule.name == name).map(|rule| rule.meaning)
}
