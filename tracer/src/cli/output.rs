//! The output options.

use std::path::PathBuf;
use std::time::Duration;

use crate::filter::Filter;
use crate::stream::Verdict;
pub use crate::view::terminal::Color;
use crate::view::terminal::Columns;
use crate::view::text::TextOptions;

use super::value;

/// Options for the output, and for the end of the trace.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,

    /// Write the events to this file
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub output: Option<PathBuf>,

    /// Colours
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: Color,

    /// Lines longer than the terminal is wide: nothing is cut; adds user, namespace, executable, cgroup
    #[arg(short, long)]
    pub wide: bool,

    /// Show times in UTC
    #[arg(long)]
    pub utc: bool,

    /// Numbers instead of names for addresses and ports (always so)
    #[arg(short)]
    pub numeric: bool,

    /// Include every change of a socket's state
    #[arg(long)]
    pub states: bool,

    /// Include harmless drops and resets
    #[arg(long)]
    pub all: bool,

    /// With each drop, show the kernel stack that led to it
    #[arg(long)]
    pub stack: bool,

    /// Do not watch the kernel's counters of discards without a tracepoint
    #[arg(long)]
    pub no_counters: bool,

    /// No banner, no summary, no warnings
    #[arg(short, long)]
    pub quiet: bool,

    /// Stop after this time: 10s, 500ms, 2m, 1h
    #[arg(long, value_name = "T", value_parser = value::positive_time)]
    pub duration: Option<Duration>,

    /// Stop after this many shown events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// Exit with status 3 if events were lost
    #[arg(long)]
    pub strict: bool,

    /// Prove that nothing is missing: count every event of the kernel a second time, and compare
    ///
    /// Other programs in the kernel count all calls; at the end tracer compares that with the events shown,
    /// filtered, folded, lost and missed: `audit` in the summary, for each hook. It costs a little more.
    #[arg(long)]
    pub audit: bool,

    /// Log to stderr what tracer does; twice for more
    #[arg(short, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Size of the buffer between kernel and tracer
    ///
    /// A power of two and whole pages, such as 512K or 16M. A larger buffer survives longer bursts of
    /// events without loss.
    #[arg(long, value_name = "BYTES", value_parser = value::buffer, hide_short_help = true)]
    pub buffer: Option<u32>,
}

/// Options that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--no-counters leaves nothing that --event discard could show; leave one of them out")]
pub struct NoCounters;

impl OutputArgs {
    /// Checks that the options do not contradict those of the filter.
    ///
    /// # Errors
    /// If the filter asks for discards, and the counters that show them are not watched.
    pub fn check(&self, filter: &Filter) -> Result<(), NoCounters> {
        if self.no_counters && filter.asks_for("discard") { Err(NoCounters) } else { Ok(()) }
    }

    /// Returns the options for text. Sockets open at the beginning or the end are no news: text shows
    /// them only if the user asks for them, by kind, by verdict or with -v. The caller knows the columns and the colours of the
    /// destination.
    #[must_use]
    pub fn text_options(&self, filter: &Filter, color: bool) -> TextOptions {
        let all = self.verbose > 0;
        TextOptions {
            wide: self.wide,
            columns: Columns::PIPE,
            utc: self.utc,
            color,
            open: all || filter.asks_for("open"),
            quiet_drops: all || self.all || filter.asks_for("drop") || filter.asks_for_reason(),
            resets: all || self.all || filter.asks_for("reset") || filter.asks_for_reason(),
            open_at_end: all || filter.asks_for("close") || filter.asks_for_verdict(Verdict::OpenAtEnd),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::filter::{FilterArgs, Host};

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        output: OutputArgs,
    }

    #[test]
    fn discards_without_counters_are_refused() {
        let check = |text: &str| {
            let line = Line::try_parse_from(std::iter::once("x").chain(text.split_whitespace())).unwrap();
            line.output.check(&line.filter.resolve(&Host::default()).unwrap())
        };
        for text in ["--event discard --no-counters", "--no-counters --event drop,discard"] {
            assert_eq!(check(text), Err(NoCounters), "{text}");
        }
        for text in ["--no-counters", "--event discard", "--event drop --no-counters", "--event !discard --no-counters"]
        {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }
}
