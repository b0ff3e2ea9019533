//! `tracer explain` as a script sees it: stdout, stderr and the exit status.

use std::io::Read as _;
use std::process::{Command, Stdio};

use serde_json::Value;
use tracer_tests::agent::{run_to_end, tracer_program};
use tracer_tests::terminal::terminal;

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn known_names_are_explained_on_stdout() {
    let (status, stdout, stderr) = run_to_end(&["explain", "no_socket", "111"]);
    assert_eq!(status.code(), Some(0), "{stderr}");
    for heading in ["SKB_DROP_REASON_NO_SOCKET  ", "SK_RST_REASON_NO_SOCKET  ", "ECONNREFUSED  "] {
        assert!(stdout.lines().any(|line| line.starts_with(heading)), "{heading}: {stdout}");
    }
    assert!(stdout.lines().all(|line| line.chars().count() <= 100), "{stdout}");
    assert!(!stdout.contains('\x1b') && stderr.is_empty(), "{stdout}{stderr}");
}

/// Returns the widest line of an explanation on a terminal of `columns`, with `COLUMNS` in the environment.
fn widest(columns: u16, variable: &str) -> usize {
    let (mut ours, theirs) = terminal(columns);
    let status = Command::new(tracer_program())
        .args(["explain", "tcp_listen_overflow", "--color", "never"])
        .env("COLUMNS", variable)
        .stdin(Stdio::null())
        .stdout(Stdio::from(theirs))
        .status()
        .expect("tracer starts");
    assert!(status.success());
    let mut text = Vec::new();
    // EIO, as the other side is closed.
    let _ = ours.read_to_end(&mut text);
    let text = String::from_utf8(text).expect("text is UTF-8");
    text.lines().map(|line| line.trim_end().chars().count()).max().unwrap_or(0)
}

#[test]
fn text_is_as_wide_as_the_terminal() {
    for (columns, variable, most) in [(132, "70", 132), (64, "200", 64), (20, "200", 60), (0, "90", 90), (0, "", 80)] {
        let widest = widest(columns, variable);
        // A word more had no room.
        assert!(widest <= most && widest > most - 15, "{widest} of {most}: {columns} {variable}");
    }
}

#[test]
fn an_unknown_name_fails_and_the_others_are_explained() {
    let (status, stdout, stderr) = run_to_end(&["explain", "--json", "ECONREFUSED", "TIME-WAIT"]);
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("`ECONREFUSED` is not known; did you mean ECONNREFUSED"), "{stderr}");
    let objects = objects(&stdout);
    assert_eq!(objects.len(), 1, "{stdout}");
    assert_eq!((&objects[0]["name"], &objects[0]["family"]), (&"TIME_WAIT".into(), &"state".into()));
}

#[test]
fn without_a_name_the_families_are_told_and_can_be_listed() {
    let (status, stdout, _) = run_to_end(&["explain", "--json"]);
    assert_eq!(status.code(), Some(0));
    for family in objects(&stdout) {
        let name = family["family"].as_str().expect("a name");
        let (status, listed, stderr) = run_to_end(&["explain", "--list", name]);
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert_eq!(Some(listed.lines().count() as u64), family["names"].as_u64(), "{name}");
        for listed in listed.lines().take(3) {
            let (status, _, stderr) = run_to_end(&["explain", listed]);
            assert_eq!(status.code(), Some(0), "{stderr}");
        }
    }
}

#[test]
fn wrong_usage_has_status_2() {
    for args in [&["explain", "--list", "nonsense"][..], &["explain", "--list", "drop", "NO_SOCKET"]] {
        let (status, stdout, _) = run_to_end(args);
        assert_eq!(status.code(), Some(2), "{args:?}");
        assert!(stdout.is_empty(), "{stdout}");
    }
}
