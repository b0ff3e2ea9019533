//! The page: findings, then devices and sockets, then a line for each of the other sections.

use super::page::{Cell, Column, Page};
use super::{View, sections, whole};
use crate::clock::TimeOfDay;
use crate::ink::Ink;
use crate::terminal::Columns;
use crate::unit::{Count, Micros};
use tracer_host::net::health::{Finding, Severity, When};

/// The most findings on a page.
const FINDINGS: usize = 8;
/// The most findings of a section; each counter is its own kind.
const OF_SECTION: usize = 2;
/// The most names in the `tracer explain` line.
const EXPLAINED: usize = 3;

/// How the page looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether to use colours.
    pub color: bool,
    /// The columns of a line.
    pub columns: Columns,
    /// Whether to show everything, not only a page.
    pub all: bool,
    /// Whether to leave out warnings of missing data.
    pub quiet: bool,
    /// Whether times are in UTC.
    pub utc: bool,
}

/// Returns the page, each line with a newline. `wall_ns`: the time of the picture.
#[must_use]
pub fn write(view: &View<'_>, options: Options, wall_ns: i64) -> String {
    let mut page = Page::new(options.color, options.columns);
    head(&mut page, view, options, wall_ns);
    findings(&mut page, view.findings, options.all);
    page.blank();
    sections::interfaces(&mut page, view, options.all);
    page.blank();
    sections::sockets(&mut page, view, options.all);
    page.blank();
    sections::calm(&mut page, view);
    if options.all {
        whole::write(&mut page, view);
    }
    if !options.quiet {
        missing(&mut page, view);
    }
    page.finish()
}

fn head(page: &mut Page, view: &View<'_>, options: Options, wall_ns: i64) {
    let picture = view.picture;
    let count = |severity| view.findings.iter().filter(|finding| finding.severity == severity).count();
    let (sick, watch) = (count(Severity::Sick), count(Severity::Watch));
    let (verdict, ink) = match (sick, watch) {
        (0, 0) => ("all calm".to_owned(), Ink::Plain),
        (0, watch) => (format!("nothing sick, {watch} to watch"), Ink::Warning),
        (sick, 0) => (format!("{sick} SICK"), Ink::Failure),
        (sick, watch) => (format!("{sick} SICK, {watch} to watch"), Ink::Failure),
    };
    let mut line = format!("{verdict} in netns {}", picture.netns.inode);
    if let Some(name) = &picture.netns.name {
        line.push(' ');
        line.push_str(name);
    }
    if picture.current {
        line.push_str(" (this one)");
    }
    page.line(&line, 2, ink);
    let from = match view.changes {
        Some(changes) => {
            let mut time = Vec::new();
            TimeOfDay::new(options.utc).write(&mut time, wall_ns);
            format!("{}, what moved in {:.1} s", String::from_utf8_lossy(&time), changes.seconds)
        }
        None => format!(
            "counted since the namespace was made, host up {}; SICK is now; --watch 1 shows what moves",
            Micros(picture.boot_ns / 1000)
        ),
    };
    page.line(&from, 2, Ink::Faint);
}

fn findings(page: &mut Page, findings: &[Finding], all: bool) {
    if findings.is_empty() {
        return;
    }
    page.blank();
    let columns = [Column::left("", 5), Column::left("", 32), Column::right(""), Column::right(""), Column::prose("")];
    // A hundred full queues must not hide the rest.
    let mut of_section: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
    let mut room = |finding: &&Finding| {
        let count = of_section.entry(finding.section).or_default();
        *count += 1;
        all || *count <= if finding.section == "counters" { FINDINGS } else { OF_SECTION }
    };
    let most = if all { findings.len() } else { FINDINGS };
    let shown: Vec<&Finding> = findings.iter().filter(|finding| room(finding)).take(most).collect();
    let name = |finding: &Finding| match finding.severity {
        Severity::Sick => "SICK",
        Severity::Watch => "watch",
    };
    if page.columns() < Columns::PIPE.get() {
        for finding in &shown {
            let amount = [finding.amount.as_str().to_owned(), finding.percent.map(percent).unwrap_or_default()];
            let amount = amount.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ");
            let earlier = if finding.when == Some(When::SinceBoot) { "earlier: " } else { "" };
            let sentence = format!("{:5}  {}: {amount}; {earlier}{}", name(finding), finding.what, finding.meaning);
            page.line(&sentence, 7, finding.severity.into());
        }
    }
    let rows: Vec<Vec<Cell>> = shown
        .iter()
        .filter(|_| page.columns() >= Columns::PIPE.get())
        .map(|finding| {
            let ink = finding.severity.into();
            vec![
                Cell(name(finding).to_owned(), ink),
                Cell(finding.what.clone(), ink),
                finding.amount.as_str().into(),
                finding.percent.map(percent).unwrap_or_default().into(),
                match finding.when {
                    Some(When::SinceBoot) => format!("earlier: {}", finding.meaning).into(),
                    _ => finding.meaning.as_str().into(),
                },
            ]
        })
        .collect();
    page.table(&columns, &rows, false);
    if findings.len() > shown.len() {
        let more = Count(u64::try_from(findings.len() - shown.len()).unwrap_or(u64::MAX));
        page.line(&format!("       and {more} more: --all"), 7, Ink::Faint);
    }
    let names: Vec<&str> = findings.iter().filter_map(|finding| finding.explain).take(EXPLAINED).collect();
    if !names.is_empty() {
        page.line(&format!("next:  tracer explain {}", names.join(" ")), 7, Ink::Plain);
    }
}

/// Formats a percentage in at most 7 columns: `12 %`, `0.31 %`, `<0.01 %`.
pub(super) fn percent(value: f64) -> String {
    if value <= 0.0 {
        "0 %".to_owned()
    } else if value < 0.01 {
        "<0.01 %".to_owned()
    } else if value < 1.0 {
        format!("{value:.2} %")
    } else if value < 10.0 {
        format!("{value:.1} %")
    } else if value < 999.5 {
        format!("{value:.0} %")
    } else {
        ">999 %".to_owned()
    }
}

fn missing(page: &mut Page, view: &View<'_>) {
    let picture = view.picture;
    let mut lines: Vec<String> = picture.gaps.iter().map(|gap| format!("not seen: {gap}")).collect();
    if let Some(gap) = sections::owners_missing(picture) {
        lines.push(format!("not seen: {gap}"));
    }
    if picture.malformed.count > 0 {
        let places: Vec<String> =
            picture.malformed.places.iter().map(|(path, line)| format!("{}:{line}", path.display())).collect();
        let count = Count(picture.malformed.count);
        lines.push(format!("not understood: {count} lines, skipped: {}", places.join(", ")));
    }
    if !lines.is_empty() {
        page.blank();
    }
    for line in lines {
        page.line(&line, 10, Ink::Warning);
    }
}
