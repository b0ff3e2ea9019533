//! `tracer doctor`: its exit status says whether a trace is possible.

use std::process::Stdio;

use serde_json::Value;
use tracer_tests::agent::{run_to_end, tracer_program};
use tracer_tests::capability::{self, BPF, NET_ADMIN};

/// Number of the user `nobody`.
const UID: u32 = 65_534;

#[test]
fn where_a_trace_is_possible_the_status_is_0() {
    for args in [&["doctor"][..], &["doctor", "--json"]] {
        let (status, out, log) = run_to_end(args);
        assert_eq!(status.code(), Some(0), "{out}{log}");
    }
}

/// In text and in JSON, without capabilities and with too few.
#[test]
fn where_no_trace_is_possible_the_status_is_1() {
    for (json, capabilities) in [(false, &[][..]), (true, &[]), (true, &[BPF, NET_ADMIN])] {
        let (mut command, program) =
            capability::command(&tracer_program(), UID, capabilities).expect("the tracer is opened");
        command.arg("doctor").args(json.then_some("--json")).stdin(Stdio::null());
        let out = command.output().expect("tracer starts");
        drop(program);
        let text = String::from_utf8_lossy(&out.stdout);
        assert_eq!(out.status.code(), Some(1), "{capabilities:?}: {text}{}", String::from_utf8_lossy(&out.stderr));
        if json {
            let mut findings = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
            assert!(findings.any(|finding| finding["name"] == "load" && finding["ok"] == false), "{text}");
        } else {
            assert!(text.lines().any(|line| line.starts_with("NO  load ")), "{text}");
        }
    }
}
