//! Unknown values of filters: the tracer refuses them, and names the nearest known one.

use tracer_tests::agent::run_to_end;
use tracer_tests::reason;
use tracer_tests::skip::{lacks, skip};

/// Checks that the words are wrong usage, and that stderr has `answer`.
fn refused(words: &[&str], answer: &str) {
    let (status, out, log) = run_to_end(words);
    assert_eq!(status.code(), Some(2), "{words:?}: {log}");
    assert!(log.contains(answer) && out.is_empty(), "{words:?}: {log}{out}");
    assert!(!log.contains("tracer: ready"), "nothing was traced: {log}");
}

#[test]
fn a_misspelt_kind_role_verdict_or_protocol_is_refused_with_the_nearest() {
    for (option, typed, meant) in [
        ("--event", "droop", "'drop'"),
        ("--event", "!close,findings", "'finding'"),
        ("--verdict", "refusd", "'refused'"),
        ("--role", "cleint", "'client'"),
        ("--proto", "tpc", "'tcp'"),
    ] {
        refused(&["live", option, typed], meant);
    }
    refused(&["sockets", "--state", "listn"], "did you mean listen?");
}

#[test]
fn a_misspelt_reason_is_refused_with_the_nearest() {
    if !reason::any() {
        return skip(&lacks("drop reasons", "--reason is refused whatever it says"));
    }
    for command in [&["live"][..], &["drops"], &["run", "--reason", "NO_SOCKT", "--", "true"]] {
        let words = [command, if command[0] == "run" { &[] } else { &["--reason", "no_sockt"] }].concat();
        refused(&words, "unknown reason NO_SOCKT; did you mean NO_SOCKET?");
    }
    refused(&["live", "--reason", "NO_SOCKET,!NO_SOCKT"], "did you mean NO_SOCKET?");
}

#[test]
fn a_reason_that_only_other_kernels_have_is_said_to_be_one() {
    if !reason::any() {
        return skip(&lacks("drop reasons", "--reason is refused whatever it says"));
    }
    // In some kernel each of them is missing: UNIX_DISCONNECT came with 6.13, TCP_LISTEN_OVERFLOW with 6.14,
    // XDP's was taken away again by 7.1.
    let names = ["UNIX_DISCONNECT", "TCP_LISTEN_OVERFLOW", "TCP_OLD_SEQUENCE", "DEV_HDR", "SECURITY_HOOK"];
    let (here, elsewhere): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| reason::exists(name));
    for name in elsewhere {
        refused(&["live", "--reason", name], &format!("this kernel has no reason {name}"));
    }
    for name in here {
        let (status, _, log) = run_to_end(&["live", "--reason", name, "--duration", "1ms"]);
        assert_eq!(status.code(), Some(0), "{log}");
    }
}
