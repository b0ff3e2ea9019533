//! Machines that are made for the tests and thrown away: there a test may do what the whole machine feels.

use crate::skip::lacks;

/// Whether this is one, as the variable `TRACER_TEST_MACHINE` says (`cargo xtask vm` sets it to `own`).
///
/// # Errors
/// The reason to skip.
pub fn own() -> Result<(), String> {
    if std::env::var_os("TRACER_TEST_MACHINE").is_some_and(|value| value == "own") {
        return Ok(());
    }
    Err(lacks("machine of its own", "this machine's clock and limits are not the test's to change (cargo xtask vm)"))
}
