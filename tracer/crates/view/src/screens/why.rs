use super::{EVIL, compare};
use crate::{
    summary::{Incomplete, Summary, sample},
    why::{Asked, Options, found, text},
};
use tracer_stream::{Cause, Diagnosis, Health, Severity};

fn cause(rank: u32, severity: Severity, text: &str, evidence: &[&str], next: &[&str]) -> Cause {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Cause {
        rank,
        certain: severity == Severity::Failure,
        evidence: words(evidence),
        next: words(next),
        ..Cause::new("rule", severity, text.to_owned())
    }
}

fn sick() -> Diagnosis {
    Diagnosis {
        causes: vec![
            cause(
                1,
                Severity::Failure,
                "10 SYNs of edge[2806] unanswered: 10.90.13.2:8443 in i13b takes no connections, accept queue of \
                 thumbnailer[2803] is full (33 of 32)",
                &[
                    "thumbnailer[2803] is in state S, sleeps in hrtimer_nanosleep, runs for 41 s, never called accept()",
                    "its parent gateway[2801] is gone; the listener is inherited",
                    "gateway[2900] cannot bind 10.90.13.2:8443: EADDRINUSE, 3 times",
                    "a fourth line that is not shown",
                ],
                &["tracer sockets -l --port 8443", "kill 2803"],
            ),
            cause(
                2,
                Severity::Slow,
                &format!("4 % of the segments of {EVIL}[4121] are sent again: dropped in lan1"),
                &[],
                &["tracer drops"],
            ),
            cause(3, Severity::Policy, "a rule drops 12 SYNs of another host", &["nft inet fw input handle 4"], &[]),
            cause(
                4,
                Severity::Harmless,
                "inventory-scan[5158] probes closed ports of 10.90.2.130 (18 refused)",
                &[],
                &[],
            ),
            cause(5, Severity::Harmless, "lb-check[5159] resets 40 connections after their handshakes", &[], &[]),
        ],
        unexplained: 2,
        example: Some(format!("{EVIL}[7] to 10.0.0.5:443: no_answer")),
        ..Diagnosis::default()
    }
}

fn asked(what: &str, early: bool) -> Asked {
    Asked { what: what.to_owned(), traced_ns: 4_203_000_000, early }
}

#[test]
fn sick_host() {
    compare("why", |columns| text(&sick(), &asked("", true), Some(&sample()), Options { color: false, columns }));
}

#[test]
fn a_cause_on_the_way() {
    compare("why_found", |columns| found(&sick().causes[0], Options { color: false, columns }));
}

#[test]
fn calm_program() {
    let health = Health {
        opened: 214,
        answered: 214,
        slowest_us: 2_100,
        served: 1,
        older: 3,
        busy: Some(("checkout[4121]".to_owned(), 0.974)),
        ..Health::default()
    };
    let diagnosis = Diagnosis { health, elsewhere: 2, ..Diagnosis::default() };
    compare("why_calm", |columns| {
        text(&diagnosis, &asked("checkout", false), Some(&sample()), Options { color: false, columns })
    });
}

#[test]
fn everything_that_is_missing() {
    let diagnosis = Diagnosis {
        unexplained: 1,
        example: Some("a[1] to 10.0.0.5:443: timed_out".to_owned()),
        gaps: vec![format!("the namespace {EVIL} could not be entered: EPERM")],
        remarks: vec![format!("no process, container, namespace or unit is called {EVIL}")],
        ..Diagnosis::default()
    };
    let summary = Summary {
        lost: vec![("lifecycle", 12)],
        incomplete: Incomplete { sockets_untracked: 3, hints_given_up: 1, ..Incomplete::default() },
        ..sample()
    };
    compare("why_incomplete", |columns| {
        text(&diagnosis, &asked(EVIL, false), Some(&summary), Options { color: false, columns })
    });
}

#[test]
fn without_a_trace() {
    compare("why_untraced", |columns| {
        text(&Diagnosis::default(), &asked("", false), None, Options { color: false, columns })
    });
}
