//! `tracer completions SHELL`.

use std::io::{self, Write};

use clap_complete::Shell;

use crate::cli;

/// Writes the completions for `shell` to `out`.
///
/// # Errors
/// If `out` cannot be written.
pub fn write(shell: Shell, out: &mut impl Write) -> io::Result<()> {
    let mut script = Vec::new();
    // clap_complete panics if a write fails, so it writes into memory.
    clap_complete::generate(shell, &mut cli::definition(), "tracer", &mut script);
    out.write_all(&script)?;
    out.flush()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_learns_commands_options_and_values() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            write(*shell, &mut script).unwrap();
            let script = String::from_utf8(script).unwrap();
            for word in ["doctor", "completions", "min-duration", "states"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
        let mut script = Vec::new();
        write(Shell::Bash, &mut script).unwrap();
        assert!(String::from_utf8(script).unwrap().contains("reset_remote"));
    }
}
