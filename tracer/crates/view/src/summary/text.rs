//! The summary for people, on stderr.

use std::fmt::Write as _;

use super::super::escape;
use super::super::unit::{Bytes, Count, Micros};
use super::{Row, Summary};

/// The most columns of a line.
const COLUMNS: usize = 100;
/// The most findings.
const MOST_FINDINGS: usize = 10;
/// Columns of a name in a table.
const NAME: usize = 48;

/// Returns the summary as lines of at most 100 columns, each with a newline.
#[must_use]
pub fn to_text(summary: &Summary) -> String {
    let mut out = String::new();
    totals(summary, &mut out);
    if !summary.findings.is_empty() {
        out.push_str("\nwhat stands out\n");
    }
    for finding in summary.findings.iter().take(MOST_FINDINGS) {
        let mut text = String::new();
        escape::push(&mut text, &finding.text);
        wrapped(&mut out, "  ", &text);
        wrapped(&mut out, "    look: ", &finding.look.join("; "));
    }
    if let Some(more) = summary.findings.len().checked_sub(MOST_FINDINGS).filter(|more| *more > 0) {
        line(&mut out, format_args!("  and {more} more: --json has them all"));
    }
    if !summary.verdicts.is_empty() {
        out.push_str("\nconnections  ended\n");
        for (verdict, count) in &summary.verdicts {
            line(&mut out, format_args!("{:>11}  {}", Count(*count), verdict.name()));
        }
    }
    if summary.unanswered > 0 {
        line(&mut out, format_args!("{:>11}  of them unanswered", Count(summary.unanswered)));
    }
    if !summary.drops.is_empty() {
        out.push_str("\n    packets  dropped\n");
        for (reason, count) in &summary.drops {
            let mut name = String::new();
            escape::push_cut(&mut name, reason, NAME);
            line(&mut out, format_args!("{:>11}  {name}", Count(*count)));
        }
    }
    if !summary.discards.is_empty() {
        out.push_str("\n      count  discarded, by the kernel's counters alone\n");
        for (counter, count) in &summary.discards {
            line(&mut out, format_args!("{:>11}  {counter}", Count(*count)));
        }
    }
    table(&mut out, "process", &summary.processes);
    table(&mut out, "destination", &summary.destinations);
    audit(summary, &mut out);
    cost(summary, &mut out);
    for (name, why) in &summary.degraded {
        let mut text = String::new();
        escape::push(&mut text, name);
        text.push_str(": ");
        escape::push(&mut text, why);
        wrapped(&mut out, "without ", &text);
    }
    out
}

fn totals(summary: &Summary, out: &mut String) {
    let events: u64 = summary.events.iter().map(|(_, count)| count).sum();
    let mut text = format!(
        "{} connection{} and {} event{} in {}",
        Count(summary.connections),
        plural(summary.connections),
        Count(events),
        plural(events),
        Micros(summary.duration_ns / 1000)
    );
    if summary.filtered > 0 {
        // Writing to a String does not fail.
        let _ = write!(text, "; {} event{} left out by filters", Count(summary.filtered), plural(summary.filtered));
    }
    if summary.lost_events() == 0 {
        text.push_str("; nothing lost");
    }
    wrapped(out, "", &text);
    for (class, count) in summary.lost.iter().filter(|(_, count)| *count > 0) {
        let remedy = match *class {
            "missed" => "the kernel does not call a program again where it was interrupted; filters make that rarer",
            _ => "use a larger --buffer, or filters",
        };
        wrapped(out, "LOST ", &format!("{} {class} events: {remedy}", Count(*count)));
    }
    for (_, count, what) in summary.incomplete.named().into_iter().filter(|(_, count, _)| *count > 0) {
        wrapped(out, "INCOMPLETE ", &format!("{} {what}", Count(count)));
    }
}

fn audit(summary: &Summary, out: &mut String) {
    let Some(audit) = &summary.audit else { return };
    out.push_str("\n    happened   delivered    filtered      folded     lost  missed  audit\n");
    for account in audit {
        let verdict = if account.exact { "exact" } else { "NOT EXACT" };
        line(
            out,
            format_args!(
                "{:>12}  {:>10}  {:>10}  {:>10}  {:>7}  {:>6}  {}, {verdict}",
                Count(account.happened).to_string(),
                Count(account.delivered).to_string(),
                Count(account.filtered).to_string(),
                Count(account.folded).to_string(),
                Count(account.lost).to_string(),
                Count(account.missed).to_string(),
                account.hook,
            ),
        );
    }
    for account in audit.iter().filter(|account| account.edges > 0) {
        let calls = Count(account.edges);
        let calls = format!("{calls} call{}", plural(account.edges));
        let text = format!("{}: {calls} may have come before the audit began or after it ended", account.hook);
        wrapped(out, "  not certain: ", &text);
    }
    for (hook, why) in summary.unaudited.iter().flatten() {
        wrapped(out, "  not audited: ", &format!("{hook}: {why}"));
    }
}

fn cost(summary: &Summary, out: &mut String) {
    let counted: Vec<_> =
        summary.cost.programs.iter().filter_map(|p| Some((p, p.run_ns?, p.runs.filter(|runs| *runs > 0)?))).collect();
    if !counted.is_empty() {
        out.push_str("\n       runs  ns each  kernel program\n");
        for (program, run_ns, runs) in counted {
            let mut name = String::new();
            escape::push_cut(&mut name, &program.name, NAME);
            if let Some(missed) = program.missed.filter(|missed| *missed > 0) {
                let _ = write!(name, " (missed {})", Count(missed));
            }
            line(out, format_args!("{:>11}  {:>7}  {name}", Count(runs), Count(run_ns / runs)));
        }
    }
    let cost = &summary.cost;
    line(
        out,
        format_args!("\ntracer itself: {:.2} s CPU, {} memory at most", cost.cpu_seconds, Bytes(cost.peak_rss_bytes)),
    );
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(out, "{text}");
}

fn table(out: &mut String, what: &str, rows: &[Row]) {
    if rows.is_empty() {
        return;
    }
    line(out, format_args!("\nconnections  failed    sent  received  {what}"));
    for row in rows {
        let mut name = String::new();
        escape::push_cut(&mut name, &row.name, NAME);
        line(
            out,
            format_args!(
                "{:>11}  {:>6}  {:>6}  {:>8}  {name}",
                Count(row.connections),
                Count(row.failed),
                Bytes(row.tx_bytes).to_string(),
                Bytes(row.rx_bytes).to_string(),
            ),
        );
    }
}

/// Appends a paragraph; lines after the first are indented by the length of `head`.
fn wrapped(out: &mut String, head: &str, text: &str) {
    let indent = head.len();
    out.push_str(head);
    let mut column = indent;
    for word in text.split(' ') {
        let width = escape::width(word);
        if column > indent && column + 1 + width > COLUMNS {
            let _ = write!(out, "\n{:indent$}", "");
            column = indent;
        } else if column > indent {
            out.push(' ');
            column += 1;
        }
        column += escape::push_cut_plain(out, word, COLUMNS - column);
    }
    out.push('\n');
}

/// Returns the plural ending for a count.
const fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::super::{Audit, Incomplete, sample};
    use super::*;

    #[test]
    fn calm_and_complete() {
        let expected = r"1,204 connections and 2,408 events in 12.4s; 88 events left out by filters; nothing lost

connections  ended
      1,192  closed_local
         12  refused

connections  failed    sent  received  process
      1,204      12   1.2MB      345B  evil\x1b[2J[4121]

connections  failed    sent  received  destination
      1,204      12   1.2MB      345B  10.0.0.5:443

       runs  ns each  kernel program
  1,000,000      366  inet_sock_set_state

tracer itself: 1.25 s CPU, 23MB memory at most
without fentry: the kernel refused to load the program: EPERM
";
        assert_eq!(to_text(&sample()), expected);
    }

    #[test]
    fn an_audit_says_of_each_hook_whether_it_is_exact() {
        let account = Audit {
            hook: "inet_sock_set_state".into(),
            happened: 120_002,
            delivered: 100_002,
            filtered: 20_000,
            aside: 20_000,
            exact: true,
            ..Audit::default()
        };
        let other =
            Audit { hook: "kfree_skb".into(), happened: 3, lost: 1, edges: 1, exact: false, ..Audit::default() };
        let unaudited =
            Some(vec![("inet_csk_accept".into(), "served by fentry, and nothing else counts its calls".to_owned())]);
        let text = to_text(&Summary { audit: Some(vec![account, other]), unaudited, ..sample() });
        let expected = "
    happened   delivered    filtered      folded     lost  missed  audit
     120,002     100,002      20,000           0        0       0  inet_sock_set_state, exact
           3           0           0           0        1       0  kfree_skb, NOT EXACT
  not certain: kfree_skb: 1 call may have come before the audit began or after it ended
  not audited: inet_csk_accept: served by fentry, and nothing else counts its calls
";
        assert!(text.contains(expected), "{text}");
        assert!(!to_text(&sample()).contains("exact"));
    }

    #[test]
    fn losses_are_loud() {
        let summary = Summary { lost: vec![("lifecycle", 1234), ("process", 0)], ..sample() };
        let text = to_text(&summary);
        assert!(text.contains("\nLOST 1,234 lifecycle events: use a larger --buffer, or filters\n"), "{text}");
        assert!(!text.contains("nothing lost") && !text.contains("process events"));
        let text = to_text(&Summary { lost: vec![("missed", 7)], ..sample() });
        assert!(
            text.contains("\nLOST 7 missed events: the kernel does not call") && !text.contains("--buffer"),
            "{text}"
        );
    }

    #[test]
    fn what_is_incomplete_is_said() {
        assert!(!to_text(&sample()).contains("INCOMPLETE"));
        let incomplete = Incomplete { sockets_untracked: 12_000, ..Incomplete::default() };
        let text = to_text(&Summary { incomplete, ..sample() });
        let expected = "\nINCOMPLETE 12,000 sockets were not followed: use a larger --sockets, or filters\n";
        assert!(text.contains(expected) && !text.contains("ends were seen"), "{text}");
    }

    #[test]
    fn at_most_a_hundred_columns() {
        let mut summary = sample();
        for row in summary.processes.iter_mut().chain(&mut summary.destinations) {
            row.name = "日\n".repeat(100);
            (row.connections, row.failed) = (9_999_999_999, 9_999_999_999);
            (row.tx_bytes, row.rx_bytes) = (u64::MAX, u64::MAX);
        }
        summary.degraded = vec![("x".repeat(300), "word ".repeat(100))];
        summary.cost.programs[0].name = "p".repeat(100);
        summary.cost.programs[0].missed = Some(1_000_000);
        summary.lost = vec![("lifecycle", u64::MAX)];
        summary.incomplete = Incomplete {
            sockets_untracked: u64::MAX,
            closes_recovered: u64::MAX,
            calls_unnoted: u64::MAX,
            stacks_missing: u64::MAX,
            findings_untold: u64::MAX,
            hints_given_up: u64::MAX,
            namespaces_renewed: u64::MAX,
        };
        for line in to_text(&summary).lines() {
            assert!(escape::width(line) <= COLUMNS, "{line}");
            assert!(!line.chars().any(char::is_control));
        }
    }
}
