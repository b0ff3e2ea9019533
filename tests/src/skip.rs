//! Skips tests that cannot run here, with a reason, and leaves a line that the runner can judge.

use std::io::Write as _;
use std::path::Path;

use crate::feature;

/// Skips the running test for `reason` ([`lacks`], [`missing_tool`]): prints it, and appends `name<TAB>reason` to the
/// file in `TRACER_SKIP_LOG`.
pub fn skip(reason: &str) {
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    println!("SKIP {name}: {reason}");
    if let Some(path) = std::env::var_os("TRACER_SKIP_LOG") {
        let mut log = std::fs::OpenOptions::new().create(true).append(true).open(&path).expect("TRACER_SKIP_LOG opens");
        // In one write: other tests append to it, too.
        log.write_all(format!("{name}\t{reason}\n").as_bytes()).expect("TRACER_SKIP_LOG takes a line");
    }
}

/// The reason to skip for lack of a [feature] of the kernel: `kernel: FEATURE: DETAIL`.
///
/// # Panics
/// If the table does not know `feature`.
#[must_use]
pub fn lacks(feature: &str, detail: impl std::fmt::Display) -> String {
    assert!(feature::since(feature).is_some(), "tests/src/feature.rs knows {feature}");
    format!("kernel: {feature}: {detail}")
}

/// The reason to skip if a command is not installed.
#[must_use]
pub fn missing_tool(tool: &str) -> Option<String> {
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&dirs)
        .chain([Path::new("/usr/sbin").into(), Path::new("/sbin").into()])
        .any(|dir| dir.join(tool).is_file());
    (!found).then(|| format!("tool: {tool} is not installed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An unknown feature would only fail on the kernel that lacks it.
    #[test]
    fn every_feature_that_a_test_may_lack_is_in_the_table() {
        let call = concat!("lacks", "(\"");
        let mut named = 0;
        for folder in ["src", "tests/live"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            for file in std::fs::read_dir(folder).unwrap() {
                let path = file.unwrap().path();
                let text = if path.is_file() { std::fs::read_to_string(&path).unwrap() } else { String::new() };
                for feature in text.split(call).skip(1).filter_map(|rest| rest.split('"').next()) {
                    assert!(feature::since(feature).is_some(), "{}: {feature}", path.display());
                    named += 1;
                }
            }
        }
        assert!(named > 20, "{named}");
    }
}
