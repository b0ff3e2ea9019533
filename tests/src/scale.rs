//! Smaller loads and longer times for machines that are emulated.

use std::time::Duration;

/// The divisor of loads: 1, or the value of `TRACER_TEST_SCALE`.
fn divisor() -> usize {
    let text = std::env::var("TRACER_TEST_SCALE").ok();
    text.and_then(|text| text.parse().ok()).filter(|divisor| *divisor > 0).unwrap_or(1)
}

/// Whether this machine is emulated.
#[must_use]
pub fn is_slow() -> bool {
    divisor() > 1
}

/// `count`, or less by `TRACER_TEST_SCALE`, but at least `least`: below that the test would show nothing.
#[must_use]
pub fn load(count: usize, least: usize) -> usize {
    (count / divisor()).max(least)
}

/// A time limit: ten times as long where loads are smaller.
#[must_use]
pub fn time(full_speed: Duration) -> Duration {
    if is_slow() { full_speed * 10 } else { full_speed }
}
