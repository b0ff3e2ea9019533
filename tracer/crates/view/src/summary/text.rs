//! The summary for people, on stderr.

use std::fmt::Write as _;

use super::super::escape;
use super::super::unit::{Bytes, Count, Micros};
use super::{Row, Summary};
use crate::table::measured::{self, Cell, Measured, Shape};
use crate::terminal::Columns;
use crate::wrap::Paragraph;

/// The most findings.
const MOST_FINDINGS: usize = 10;

/// Returns the summary as lines of at most so many columns, each with a newline.
#[must_use]
pub fn to_text(summary: &Summary, columns: Columns) -> String {
    let mut text = Text { out: String::new(), columns: columns.get() };
    text.totals(summary);
    text.findings(summary);
    text.counts(summary);
    text.rows("process", &summary.processes);
    text.rows("destination", &summary.destinations);
    text.audit(summary);
    text.cost(summary);
    for (name, why) in &summary.degraded {
        text.paragraph("without ", &format!("{}: {}", escape::Escaped(name), escape::Escaped(why)));
    }
    text.out
}

/// The lines so far.
struct Text {
    out: String,
    columns: usize,
}

impl Text {
    fn totals(&mut self, summary: &Summary) {
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
        self.paragraph("", &text);
        for (class, count) in summary.lost.iter().filter(|(_, count)| *count > 0) {
            let remedy = match *class {
                "missed" => {
                    "the kernel does not call a program again where it was interrupted; filters make that rarer"
                }
                _ => "use a larger --buffer, or filters",
            };
            self.paragraph("LOST ", &format!("{} {class} events: {remedy}", Count(*count)));
        }
        for (_, count, what) in summary.incomplete.named().into_iter().filter(|(_, count, _)| *count > 0) {
            self.paragraph("INCOMPLETE ", &format!("{} {what}", Count(count)));
        }
    }

    fn findings(&mut self, summary: &Summary) {
        if !summary.findings.is_empty() {
            self.out.push_str("\nwhat stands out\n");
        }
        for finding in summary.findings.iter().take(MOST_FINDINGS) {
            let mut text = String::new();
            escape::push(&mut text, &finding.text);
            self.paragraph("  ", &text);
            self.paragraph("    look: ", &finding.look.join("; "));
        }
        if let Some(more) = summary.findings.len().checked_sub(MOST_FINDINGS).filter(|more| *more > 0) {
            self.paragraph("  ", &format!("and {more} more: --json has them all"));
        }
    }

    fn counts(&mut self, summary: &Summary) {
        let mut ended: Vec<_> = summary.verdicts.iter().map(|(verdict, count)| (*count, verdict.name())).collect();
        if summary.unanswered > 0 {
            ended.push((summary.unanswered, "of them unanswered"));
        }
        self.counted("connections", "ended", ended);
        let drops = summary.drops.iter().map(|(reason, count)| (*count, reason.as_str()));
        self.counted("packets", "dropped", drops.collect());
        let discards = summary.discards.iter().map(|(counter, count)| (*count, *counter));
        self.counted("count", "discarded, by the kernel's counters alone", discards.collect());
    }

    /// Appends how often each name has happened.
    fn counted(&mut self, count: &'static str, name: &'static str, rows: Vec<(u64, &str)>) {
        let rows = rows.into_iter().map(|(count, name)| vec![counted(count), name.into()]);
        self.table(&[Measured::right(count).at_least(11), Measured::rest(name)], &rows.collect::<Vec<_>>());
    }

    fn rows(&mut self, what: &'static str, rows: &[Row]) {
        let columns = [
            Measured::right("connections"),
            Measured::right("failed"),
            Measured::right("sent").at_least(6),
            Measured::right("received"),
            Measured::rest(what),
        ];
        let bytes = |bytes| Bytes(bytes).to_string().into();
        let cells = |row: &Row| {
            let (sent, received) = (bytes(row.tx_bytes), bytes(row.rx_bytes));
            vec![counted(row.connections), counted(row.failed), sent, received, row.name.as_str().into()]
        };
        self.table(&columns, &rows.iter().map(cells).collect::<Vec<_>>());
    }

    fn audit(&mut self, summary: &Summary) {
        let Some(audit) = &summary.audit else { return };
        let columns = [
            Measured::right("happened").at_least(12),
            Measured::right("delivered").at_least(10).optional(3),
            Measured::right("filtered").at_least(10).optional(2),
            Measured::right("folded").at_least(10).optional(1),
            Measured::right("lost").at_least(7),
            Measured::right("missed"),
            Measured::prose("audit"),
        ];
        let rows: Vec<Vec<Cell>> = audit
            .iter()
            .map(|account| {
                let verdict = if account.exact { "exact" } else { "NOT EXACT" };
                let counts = [account.happened, account.delivered, account.filtered, account.folded];
                let counts = counts.into_iter().chain([account.lost, account.missed]).map(counted);
                counts.chain([format!("{}, {verdict}", account.hook).into()]).collect()
            })
            .collect();
        self.table(&columns, &rows);
        for account in audit.iter().filter(|account| account.edges > 0) {
            let calls = Count(account.edges);
            let calls = format!("{calls} call{}", plural(account.edges));
            let text = format!("{}: {calls} may have come before the audit began or after it ended", account.hook);
            self.paragraph("  not certain: ", &text);
        }
        for (hook, why) in summary.unaudited.iter().flatten() {
            self.paragraph("  not audited: ", &format!("{hook}: {why}"));
        }
    }

    fn cost(&mut self, summary: &Summary) {
        let cost = &summary.cost;
        let counted_ones = cost.programs.iter().filter_map(|program| {
            let (run_ns, runs) = (program.run_ns?, program.runs.filter(|runs| *runs > 0)?);
            let missed = program.missed.filter(|missed| *missed > 0);
            let missed = missed.map(|missed| format!(" (missed {})", Count(missed))).unwrap_or_default();
            Some(vec![counted(runs), counted(run_ns / runs), format!("{}{missed}", program.name).into()])
        });
        let columns =
            [Measured::right("runs").at_least(11), Measured::right("ns each"), Measured::rest("kernel program")];
        self.table(&columns, &counted_ones.collect::<Vec<_>>());
        let memory = Bytes(cost.peak_rss_bytes);
        self.out.push('\n');
        self.paragraph("", &format!("tracer itself: {:.2} s CPU, {memory} memory at most", cost.cpu_seconds));
    }

    fn table(&mut self, columns: &[Measured], rows: &[Vec<Cell>]) {
        if !rows.is_empty() {
            self.out.push('\n');
            let shape = Shape { line: self.columns, gap: 2, heading: true, color: false };
            measured::write(&mut self.out, columns, rows, shape);
        }
    }

    /// Appends a paragraph; lines after the first are indented by the length of `head`.
    fn paragraph(&mut self, head: &str, text: &str) {
        self.out.push_str(head);
        Paragraph { first: head.len(), rest: head.len(), columns: self.columns }.push(&mut self.out, text);
        self.out.push('\n');
    }
}

fn counted(count: u64) -> Cell {
    Count(count).to_string().into()
}

/// Returns the plural ending for a count.
const fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::super::{Audit, Incomplete, sample};
    use super::*;

    fn shown(summary: &Summary) -> String {
        to_text(summary, Columns::PIPE)
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
        let text = shown(&Summary { audit: Some(vec![account, other]), unaudited, ..sample() });
        let expected = "
    happened   delivered    filtered      folded     lost  missed  audit
     120,002     100,002      20,000           0        0       0  inet_sock_set_state, exact
           3           0           0           0        1       0  kfree_skb, NOT EXACT
  not certain: kfree_skb: 1 call may have come before the audit began or after it ended
  not audited: inet_csk_accept: served by fentry, and nothing else counts its calls
";
        assert!(text.contains(expected), "{text}");
        assert!(!shown(&sample()).contains("exact"));
    }

    #[test]
    fn losses_are_loud() {
        let summary = Summary { lost: vec![("lifecycle", 1234), ("process", 0)], ..sample() };
        let text = shown(&summary);
        assert!(text.contains("\nLOST 1,234 lifecycle events: use a larger --buffer, or filters\n"), "{text}");
        assert!(!text.contains("nothing lost") && !text.contains("process events"));
        let text = shown(&Summary { lost: vec![("missed", 7)], ..sample() });
        assert!(
            text.contains("\nLOST 7 missed events: the kernel does not call") && !text.contains("--buffer"),
            "{text}"
        );
    }

    #[test]
    fn what_is_incomplete_is_said() {
        assert!(!shown(&sample()).contains("INCOMPLETE"));
        let incomplete = Incomplete { sockets_untracked: 12_000, ..Incomplete::default() };
        let text = shown(&Summary { incomplete, ..sample() });
        let expected = "\nINCOMPLETE 12,000 sockets were not followed: use a larger --sockets, or filters\n";
        assert!(text.contains(expected) && !text.contains("ends were seen"), "{text}");
    }

    #[test]
    fn never_wider_than_asked_for() {
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
        for columns in [60, 80, 100, 200] {
            for line in to_text(&summary, Columns::new(columns)).lines() {
                assert!(escape::width(line) <= columns, "{columns}: {line}");
                assert!(!line.chars().any(char::is_control));
            }
        }
    }
}
