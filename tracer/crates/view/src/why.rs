//! `tracer why`: the causes as text, and as objects.

use std::io::{self, Write};

use tracer_stream::{Cause, Diagnosis, Health, Severity, summary::Summary};

use crate::{
    clock::{Rfc3339, WallClock},
    escape,
    ink::Ink,
    json,
    output::Output,
    terminal::Columns,
    unit::{Count, Micros},
    wrap::Paragraph,
};

/// The most causes of harm, and lines of evidence of one, in the text.
const MOST_CAUSES: usize = 5;
const MOST_EVIDENCE: usize = 3;
/// The most harmless ones, in one paragraph.
const MOST_HARMLESS: usize = 3;
/// Columns before the details of a cause.
const INDENT: usize = 3;

/// The question and how its trace went.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The user's words. Hostile bytes. Empty: the whole host.
    pub what: String,
    /// How long the trace went on, ns.
    pub traced_ns: u64,
    /// It ended before its time because the causes were certain.
    pub early: bool,
}

/// How the text looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// With colours.
    pub color: bool,
    /// The columns of a line.
    pub columns: Columns,
}

/// Returns the answer as text, each line with a newline. `summary`: of its trace, if there was one.
#[must_use]
pub fn text(diagnosis: &Diagnosis, asked: &Asked, summary: Option<&Summary>, options: Options) -> String {
    let mut page = Page { out: String::new(), options };
    for remark in &diagnosis.remarks {
        page.paragraph("", Ink::Warning, remark);
    }
    let harmful = diagnosis.harmful().count();
    for cause in diagnosis.harmful().take(MOST_CAUSES) {
        page.cause(cause);
    }
    if harmful > MOST_CAUSES {
        page.paragraph("", Ink::Plain, &format!("and {} more: --json has them all", harmful - MOST_CAUSES));
    }
    if harmful == 0 {
        let ink = if diagnosis.unexplained == 0 { Ink::Good } else { Ink::Warning };
        page.paragraph("", ink, &calm(diagnosis, asked, summary.is_some()));
    } else if diagnosis.unexplained > 0 {
        page.paragraph("", Ink::Warning, &unexplained(diagnosis));
    }
    page.harmless(diagnosis);
    page.whole(diagnosis, asked, summary);
    page.out
}

/// Returns the line that says on a terminal that a cause has become certain.
#[must_use]
pub fn found(cause: &Cause, options: Options) -> String {
    let mut page = Page { out: String::new(), options };
    page.paragraph("  ", ink(cause.severity), &cause.text);
    page.out
}

/// The sentence of a trace without causes.
fn calm(diagnosis: &Diagnosis, asked: &Asked, traced: bool) -> String {
    let of = if asked.what.is_empty() { "this host" } else { asked.what.as_str() };
    let health = &diagnosis.health;
    let mut text = if diagnosis.unexplained > 0 {
        unexplained(diagnosis)
    } else if !traced {
        format!("nothing wrong is to be seen in the sockets and queues of {of}")
    } else {
        format!("nothing wrong with the network of {of}: {}", seen(health))
    };
    if let Some((process, share)) = &health.busy {
        text.push_str(&format!("; {process} itself took {:.0} % of the time of a CPU", share * 100.0));
    }
    if diagnosis.elsewhere > 0 {
        let (count, what) = plural(diagnosis.elsewhere, "cause");
        text.push_str(&format!("; elsewhere on this host: {count} {what} (tracer why)"));
    }
    text
}

fn unexplained(diagnosis: &Diagnosis) -> String {
    let (count, what) = plural(diagnosis.unexplained, "connection");
    let example = diagnosis.example.as_ref().map(|example| format!(", for example {example}")).unwrap_or_default();
    let waits = if diagnosis.unexplained == 1 { "waits" } else { "wait" };
    format!("no cause is known for {count} {what} that failed or {waits}{example}")
}

/// The connections that were seen, no more than that.
fn seen(health: &Health) -> String {
    let (count, what) = plural(health.opened, "connection");
    let mut parts = Vec::new();
    if health.opened > 0 {
        parts.push(if health.answered == health.opened {
            format!("{count} {what}, all answered within {}", Micros(health.slowest_us))
        } else {
            let slowest =
                if health.answered > 0 { format!(" within {}", Micros(health.slowest_us)) } else { String::new() };
            format!("{count} {what}, {} answered{slowest}, {} failed", Count(health.answered), Count(health.failed))
        });
    }
    if health.served > 0 {
        let (count, what) = plural(health.served, "connection");
        parts.push(format!("{count} {what} accepted"));
    }
    if health.older > 0 {
        let (count, what) = plural(health.older, "older connection");
        parts.push(format!("{count} {what} open"));
    }
    if parts.is_empty() { "no connection was seen".to_owned() } else { parts.join(", ") }
}

fn plural(count: u64, what: &str) -> (String, String) {
    (Count(count).to_string(), format!("{what}{}", if count == 1 { "" } else { "s" }))
}

const fn ink(severity: Severity) -> Ink {
    match severity {
        Severity::Failure => Ink::Failure,
        Severity::Slow | Severity::Policy => Ink::Warning,
        Severity::Harmless => Ink::Faint,
    }
}

struct Page {
    out: String,
    options: Options,
}

impl Page {
    fn cause(&mut self, cause: &Cause) {
        let number = format!("{:<INDENT$}", format!("{}.", cause.rank));
        self.paragraph(&number, ink(cause.severity), &cause.text);
        if !cause.certain {
            self.paragraph("   - ", Ink::Faint, "probably: another explanation is possible");
        }
        for line in cause.evidence.iter().take(MOST_EVIDENCE) {
            self.paragraph("   - ", Ink::Plain, line);
        }
        if !cause.next.is_empty() {
            self.paragraph("   next: ", Ink::Faint, &cause.next.join("; "));
        }
        self.out.push('\n');
    }

    fn harmless(&mut self, diagnosis: &Diagnosis) {
        let mut texts: Vec<&str> = diagnosis.harmless().map(|cause| cause.text.as_str()).collect();
        let more = texts.len().saturating_sub(MOST_HARMLESS);
        texts.truncate(MOST_HARMLESS);
        if texts.is_empty() {
            return;
        }
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        self.paragraph("harmless: ", Ink::Faint, &format!("{}{more}", texts.join("; ")));
    }

    /// Says whether the answer is complete.
    fn whole(&mut self, diagnosis: &Diagnosis, asked: &Asked, summary: Option<&Summary>) {
        let for_time = Micros(asked.traced_ns / 1000);
        let Some(summary) = summary else {
            self.paragraph("", Ink::Faint, "without a trace: failures, retransmissions and drops are not seen");
            self.gaps(diagnosis);
            return;
        };
        let ended = if asked.early {
            format!("ended after {for_time}: the cause is certain (--for T traces on)")
        } else {
            format!("traced for {for_time}")
        };
        let lost = summary.lost_events();
        let whole = if lost == 0 { "; nothing lost" } else { "" };
        self.paragraph("", Ink::Faint, &format!("{ended}{whole}"));
        if lost > 0 {
            let (count, what) = plural(lost, "event");
            self.paragraph("", Ink::Warning, &format!("{count} {what} lost: a cause may be missing"));
        }
        for (_, count, what) in summary
            .incomplete
            .named()
            .into_iter()
            .filter(|(name, count, _)| *count > 0 && matches!(*name, "sockets_untracked" | "hints_given_up"))
        {
            self.paragraph("", Ink::Warning, &format!("{} {what}", Count(count)));
        }
        self.gaps(diagnosis);
        if !summary.degraded.is_empty() {
            let names: Vec<&str> = summary.degraded.iter().map(|(name, _)| name.as_str()).collect();
            self.paragraph("", Ink::Faint, &format!("this kernel shows less: {} (tracer doctor)", names.join(", ")));
        }
    }

    fn gaps(&mut self, diagnosis: &Diagnosis) {
        for gap in &diagnosis.gaps {
            self.paragraph("not seen: ", Ink::Warning, gap);
        }
    }

    /// Appends a paragraph; lines after the first are indented by the length of `head`. `text` has hostile bytes.
    fn paragraph(&mut self, head: &str, ink: Ink, text: &str) {
        let mut escaped = String::new();
        escape::push(&mut escaped, text);
        self.out.push_str(head);
        let columns = self.options.columns.get();
        ink.paint(&mut self.out, self.options.color, |out| {
            Paragraph { first: head.len(), rest: head.len(), columns }.push(out, &escaped);
        });
        self.out.push('\n');
    }
}

/// Writes the objects: one a cause, then the summary.
#[derive(Debug)]
pub struct CauseSink<W> {
    output: Output<W>,
    clock: WallClock,
}

impl<W: Write> CauseSink<W> {
    /// Writes to `to`.
    pub fn new(to: W, clock: WallClock) -> Self {
        Self { output: Output::new(to), clock }
    }

    /// Writes everything. `boot_ns`: `CLOCK_BOOTTIME` at the end of the trace.
    pub fn write(&mut self, boot_ns: u64, diagnosis: &Diagnosis, summary: &Summary) {
        let mut time = Rfc3339::default();
        let out = self.output.line();
        for cause in &diagnosis.causes {
            json::head(out, &mut time, self.clock, "cause", boot_ns);
            json::members(out, cause);
            out.extend_from_slice(b"}\n");
        }
        json::head(out, &mut time, self.clock, "summary", boot_ns);
        json::members(out, summary);
        out.extend_from_slice(b"}\n");
        self.output.flush();
    }

    /// Writes text.
    pub fn text(&mut self, text: &str) {
        self.output.line().extend_from_slice(text.as_bytes());
        self.output.flush();
    }

    /// The error that ended the writing.
    pub fn error(&self) -> Option<&io::Error> {
        self.output.error()
    }

    /// The writer.
    pub fn into_inner(self) -> W {
        self.output.into_inner()
    }
}
