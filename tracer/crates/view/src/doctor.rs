//! `tracer doctor`: its findings as text and as objects.

use schemars::JsonSchema;
use serde::Serialize;

use tracer_stream::Report;

use crate::escape;
use crate::ink::Ink;
use crate::table::{Column, Layout};
use crate::terminal::Columns;
use crate::wrap::Paragraph;

/// The column of what a missing thing costs.
const COST: usize = 6;

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// The hook, capability, kernel member or other thing.
    pub name: String,
    /// Whether it works.
    pub ok: bool,
    /// Of a hook: the link that a trace uses.
    pub backend: Option<&'static str>,
    /// Why it does not work, or what else there is to say.
    pub why: Option<String>,
    /// What a trace lacks without it.
    pub cost: Option<String>,
}

impl Finding {
    /// Makes a finding that all is well.
    #[must_use]
    pub fn fine(name: impl Into<String>) -> Self {
        Self { name: name.into(), ok: true, backend: None, why: None, cost: None }
    }

    /// Makes a finding that something is missing.
    #[must_use]
    pub fn missing(name: impl Into<String>, why: impl Into<String>, cost: impl Into<String>) -> Self {
        Self { name: name.into(), ok: false, backend: None, why: Some(why.into()), cost: Some(cost.into()) }
    }
}

/// Returns the findings, an object a line.
#[must_use]
pub fn json(findings: &[Finding]) -> String {
    let mut out = Vec::new();
    for finding in findings {
        crate::json::line(&mut out, &Report::new("doctor", finding));
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Returns the findings as a table; a name is always whole.
#[must_use]
pub fn text(findings: &[Finding], columns: Columns) -> String {
    let sized = [
        Column::text("", [3; 3], 0),
        Column::text("", [16, 22, 22], 1),
        Column::text("", [11; 3], 0),
        Column::text("", [0, 0, usize::MAX], 2),
    ];
    let layout = Layout::new(&sized, columns.get());
    let mut out = String::new();
    for finding in findings {
        let row = out.len();
        layout.row(&mut out, false, |out, at, _| {
            match at {
                0 => out.push_str(if finding.ok { "ok" } else { "NO" }),
                1 => out.push_str(&finding.name),
                2 => out.push_str(finding.backend.unwrap_or("-")),
                _ => {
                    let mut why = String::new();
                    escape::push(&mut why, finding.why.as_deref().unwrap_or_default());
                    let first = escape::width(out.get(row..).unwrap_or_default());
                    let rest = [0, 1, 2].map(|at| layout.width(at) + 1).into_iter().sum();
                    Paragraph { first, rest, columns: columns.get() }.push(out, &why);
                }
            }
            Ink::Plain
        });
        if let Some(cost) = &finding.cost {
            let head = "costs: ";
            out.push_str(&format!("{:COST$}{head}", ""));
            let at = COST + head.len();
            Paragraph { first: at, rest: at, columns: columns.get() }.push(&mut out, cost);
            out.push('\n');
        }
    }
    out
}
