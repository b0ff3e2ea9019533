//! The matrix as a step of continuous integration: decides whether it runs, and reports the decision.

use super::{Args, fetch};
use crate::setup::{self, Purpose};
use crate::test;
use crate::tree::Tree;
use anyhow::{Context as _, Result, bail};
use std::env;

/// The variable that controls the matrix: unset or `run`, or `skip: REASON`.
pub const VARIABLE: &str = "TRACER_VM";

/// The decision.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Run,
    Skip(String),
}

fn decide(variable: Option<&str>) -> Result<Decision> {
    match variable.map(str::trim) {
        None | Some("" | "run") => Ok(Decision::Run),
        Some(text) => match text.strip_prefix("skip").map(|rest| rest.trim_start_matches([':', '=', ' '])) {
            Some("") => bail!("{VARIABLE}=skip wants a reason: {VARIABLE}='skip: REASON'"),
            Some(reason) => Ok(Decision::Skip(reason.to_owned())),
            None => bail!("{VARIABLE}={text}: it is `run` or `skip: REASON`"),
        },
    }
}

/// Runs the matrix. If the kernels cannot be fetched, that is a failure under continuous integration; elsewhere it is
/// only reported. `TRACER_VM='skip: REASON'` leaves the matrix out.
///
/// # Errors
/// When a test fails in a machine, or no machine can run without an excuse.
pub fn run(tree: &Tree) -> Result<()> {
    let variable = env::var(VARIABLE).ok();
    if let Decision::Skip(reason) = decide(variable.as_deref())? {
        println!("SKIPPED, no other kernel was tried: {reason}");
        return Ok(());
    }
    // All tests take an hour and more; `cargo xtask vm` runs them.
    let args = Args { brief: true, ..Args::default() };
    let ready = setup::ensure(tree, &[Purpose::Vm], true).and_then(|()| fetch(&args.kernels, args.arch));
    let kernels = match ready {
        Ok(kernels) => kernels,
        Err(error) if test::in_ci() => {
            return Err(error).with_context(|| {
                format!("the kernels are unavailable here (if that is expected, set {VARIABLE}='skip: REASON')")
            });
        }
        Err(error) => {
            println!("SKIPPED, no other kernel was tried: {error:#}");
            return Ok(());
        }
    };
    super::matrix(&args, tree, &kernels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_it_out_wants_a_reason() {
        assert!(decide(Some("skip")).is_err());
        assert!(decide(Some("skip: ")).is_err());
        assert!(decide(Some("no")).is_err());
        assert_eq!(decide(Some("skip: no mirror")).ok(), Some(Decision::Skip("no mirror".into())));
        assert_eq!(decide(None).ok(), Some(Decision::Run));
        assert_eq!(decide(Some("run")).ok(), Some(Decision::Run));
    }
}
