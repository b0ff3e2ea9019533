//! `tracer drops`

use std::time::Duration;

use super::{KernelArgs, OutputArgs, value};
use crate::drops::{Order, Part};
use crate::filter::parse::Selector;
use crate::filter::{FilterArgs, FilterError};

/// The interval in which the table on a terminal is redrawn.
const INTERVAL: &str = "1s";

/// Examples to copy.
const EXAMPLES: &str = "\
Examples:
  tracer drops                             what is dropped now, most of it first
  tracer drops --by reason,location        why and where, for all processes together
  tracer drops --rport 5432 --duration 10s one table of one service, after ten seconds
  tracer drops -p 1234 --stack             with the kernel's calls that led to it
  tracer drops --json --duration 10s | jq 'select(.class == \"policy\")'

On a terminal the table is redrawn every second until Ctrl-C. Elsewhere
(in a pipe, with -o or --json) and with --duration it appears once, at the end.
/S is packets in a second: the last one, or on average in the table at the end.";

/// `tracer drops`
#[derive(Clone, Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES,
          mut_arg("event", |arg| arg.hide(true)),
          mut_arg("verdict", |arg| arg.hide(true)),
          mut_arg("failed", |arg| arg.hide(true)),
          mut_arg("min_duration", |arg| arg.hide(true)),
          mut_arg("states", |arg| arg.hide(true)),
          mut_arg("reason", |arg| arg.help("Only drops with this reason, such as NO_SOCKET or NETFILTER_DROP")),
          mut_arg("json", |arg| arg.help("One JSON object a row, at the end")),
          mut_arg("output", |arg| arg.help("Write the rows to this file, at the end")),
          mut_arg("all", |arg| arg.help("Include harmless drops (--json always has them)")),
          mut_arg("stack", |arg| arg.help("With each row, show the kernel stack of its first drop")),
          mut_arg("count", |arg| arg.help("Stop after this many dropped packets")))]
pub struct DropsArgs {
    /// Group packets into rows by these fields
    #[arg(long, value_name = "PART,...", value_delimiter = ',', default_values = ["reason", "location", "owner", "flow"])]
    pub by: Vec<Part>,

    /// Order
    #[arg(long, value_name = "KEY", default_value = "rate")]
    pub sort: Order,

    /// Show at most this many rows (default: as many as fit on the terminal; --json has all)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rows: Option<u32>,

    /// Redraw the table at this interval: 2s, 500ms
    #[arg(long, value_name = "T", default_value = INTERVAL, value_parser = value::positive_time)]
    pub interval: Duration,

    /// The filters.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// The output options.
    #[command(flatten)]
    pub output: OutputArgs,
    /// The kernel options.
    #[command(flatten)]
    pub kernel: KernelArgs,
}

impl DropsArgs {
    /// Returns the filter, limited to drops and to discards that only counters show.
    #[must_use]
    pub fn drops_only(&self) -> FilterArgs {
        FilterArgs {
            event: ["drop", "discard"].map(|value| Selector { value, exclude: false }).to_vec(),
            ..self.filter.clone()
        }
    }

    /// Checks for mistakes that no host allows.
    ///
    /// # Errors
    /// A sentence about the mistake.
    pub fn check(&self) -> Result<(), String> {
        let filter = &self.filter;
        for (option, given) in [
            ("--event", !filter.event.is_empty()),
            ("--verdict", !filter.verdict.is_empty()),
            ("--failed", filter.failed),
            ("--min-duration", filter.min_duration.is_some()),
            ("--states", self.output.states),
        ] {
            if given {
                return Err(format!("{option} is not about drops: use it with `tracer live`"));
            }
        }
        if filter.follow && filter.pid.is_empty() {
            return Err(FilterError::FollowWithoutPid.to_string());
        }
        filter.check().map_err(|error| error.to_string())
    }
}
