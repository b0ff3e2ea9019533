//! `tracer why`

use std::time::Duration;

use super::{Color, KernelArgs, OutputArgs, value};
use crate::core::what::What;

/// How long `tracer why` traces, if nothing is certain before.
const TIME: Duration = Duration::from_secs(10);

/// Examples to copy.
const EXAMPLES: &str = "\
WHAT is a process (name, pattern or pid), ADDR, ADDR:PORT, :PORT, the name of a host or service,
a container, a network namespace or a unit; without it the whole host. Of several words any may fit.

Examples:
  tracer why                        what is wrong on this host, in every network namespace
  tracer why checkout               what makes this program fail, or slow
  tracer why 10.0.0.5:5432          what is wrong with one destination
  tracer why --for 60s              watch for a minute: for what happens now and then
  tracer why --json | jq 'select(.event == \"cause\") | .text'

It traces for ten seconds, for less once the causes are certain, and changes nothing.";

/// `tracer why`
#[derive(Clone, Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct WhyArgs {
    /// What to ask about: a process, an address, :PORT, a container, a namespace, a unit
    #[arg(value_name = "WHAT", value_parser = str::parse::<What>)]
    pub what: Vec<What>,

    /// Trace for all of this time: 10s, 2m (default: for at most 10s)
    #[arg(long = "for", value_name = "T", value_parser = value::positive_time)]
    pub time: Option<Duration>,

    /// One JSON object a cause, and a summary
    #[arg(long, help_heading = "Output")]
    pub json: bool,

    /// Colours
    #[arg(long, value_name = "WHEN", default_value = "auto", help_heading = "Output")]
    pub color: Color,

    /// Lines longer than the terminal is wide
    #[arg(short, long, help_heading = "Output")]
    pub wide: bool,

    /// No banner, no warnings
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,

    /// Log to stderr what tracer does; twice for more
    #[arg(short, action = clap::ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,

    /// The kernel options.
    #[command(flatten)]
    pub kernel: KernelArgs,
}

impl WhyArgs {
    /// The output options that other commands have, too.
    #[must_use]
    pub fn output(&self) -> OutputArgs {
        OutputArgs {
            json: self.json,
            color: self.color,
            wide: self.wide,
            quiet: self.quiet,
            verbose: self.verbose,
            duration: Some(self.time.unwrap_or(TIME)),
            ..OutputArgs::default()
        }
    }
}
