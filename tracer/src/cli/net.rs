//! `tracer net`: its arguments.

use std::time::Duration;

use super::{Color, value};
use crate::filter::parse::Netns;

/// `tracer net`
#[derive(Clone, Debug, Default, clap::Args)]
pub struct NetArgs {
    /// This network namespace: of a process, by `ip netns` name or by inode number
    // An id of its own, where an option of `live` has the same name and another meaning.
    #[arg(id = "namespace", long = "netns", value_name = "PID|NAME|INODE")]
    pub netns: Option<Netns>,

    /// Every network namespace that a process or a file keeps alive, one after another
    #[arg(long, conflicts_with = "namespace")]
    pub all_netns: bool,

    /// Every row of every table
    #[arg(short, long)]
    pub all: bool,

    /// Show the changes in each interval of this many seconds (or 500ms, 2m), until Ctrl-C
    #[arg(long, value_name = "SECS", value_parser = value::positive_time)]
    pub watch: Option<Duration>,

    /// Look once, not twice a second apart: all counted problems are then shown as `earlier`
    #[arg(long, visible_alias = "since-boot", conflicts_with = "watch")]
    pub once: bool,

    /// Stop after this many intervals
    #[arg(id = "intervals", long = "count", value_name = "N", requires = "watch", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// One JSON object for each namespace and interval
    #[arg(long)]
    pub json: bool,

    /// Colours
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: Color,

    /// Lines longer than the terminal is wide: nothing is cut
    #[arg(short, long)]
    pub wide: bool,

    /// Show times in UTC
    #[arg(long)]
    pub utc: bool,

    /// Numbers instead of names for addresses and ports (always so)
    #[arg(short)]
    pub numeric: bool,

    /// Do not report unreadable data
    #[arg(short, long)]
    pub quiet: bool,
}
