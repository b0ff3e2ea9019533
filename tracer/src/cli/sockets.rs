//! `tracer sockets`

use std::time::Duration;

use super::{Color, OutputArgs, value};
use crate::explain::nearest_of;
use crate::filter::parse::Selector;
use crate::filter::{FilterArgs, SOCKET_PROTOCOLS};
use crate::sockets::order::Key;
use crate::sockets::proto::{Proto, Protos, State};
use crate::sockets::source::Via;

/// Examples to copy.
const EXAMPLES: &str = "\
Examples:
  tracer sockets -l                       who listens where, in every network namespace
  tracer sockets --port 443 -w            one port, with round-trip times, windows and containers
  tracer sockets --state close_wait --tree  which process forgets to close its connections
  tracer sockets -x --comm 'docker*'      the Unix sockets of some processes
  tracer sockets -t --watch 2             sockets that come and go, every two seconds";

/// `tracer sockets`
#[derive(Clone, Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES,
          mut_arg("proto", |arg| arg.value_parser(SOCKET_PROTOCOLS)),
          mut_arg("event", |arg| arg.hide(true)),
          mut_arg("verdict", |arg| arg.hide(true)),
          mut_arg("failed", |arg| arg.hide(true)),
          mut_arg("min_duration", |arg| arg.hide(true)))]
pub struct SocketsArgs {
    /// Only sockets that listen, or that take datagrams from any sender
    #[arg(short, long)]
    pub listen: bool,

    /// Only sockets in these states: listen, established, time_wait, close_wait, ...
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = state)]
    pub state: Vec<Selector<State>>,

    /// TCP
    #[arg(short, long)]
    pub tcp: bool,

    /// UDP and UDP-Lite
    #[arg(short, long)]
    pub udp: bool,

    /// Unix sockets
    #[arg(short = 'x', long)]
    pub unix: bool,

    /// All protocols: Unix, packet and netlink sockets, too
    #[arg(short, long)]
    pub all: bool,

    /// Order
    #[arg(long, value_name = "KEY", default_value = "proto")]
    pub sort: Key,

    /// Group by process
    #[arg(long, conflicts_with_all = ["json", "watch"])]
    pub tree: bool,

    /// Look again at this interval, and show sockets that appear, change and vanish: 2s, 500ms
    #[arg(long, value_name = "SECS", value_parser = value::positive_time)]
    pub watch: Option<Duration>,

    /// With --watch: stop after this many looks
    #[arg(long, value_name = "N", requires = "watch", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// The filters.
    #[command(flatten)]
    pub filter: FilterArgs,

    /// The output options.
    #[command(flatten)]
    pub output: SocketsOutput,
}

/// How `tracer sockets` shows sockets.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct SocketsOutput {
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,

    /// Colours
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: Color,

    /// Lines longer than the terminal is wide: nothing is cut; adds user, inode, container and figures of TCP
    #[arg(short, long)]
    pub wide: bool,

    /// Numbers instead of names for addresses and ports (always so)
    #[arg(short)]
    pub numeric: bool,

    /// Do not report missing data
    #[arg(short, long)]
    pub quiet: bool,

    /// Log to stderr what tracer does; twice for more
    #[arg(short, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Read the tables from this source
    ///
    /// All sources give the same result; they differ in speed, and an unusual system may not allow all.
    #[arg(long, value_name = "WAY", default_value = "auto", hide_short_help = true)]
    pub via: Via,
}

impl SocketsArgs {
    /// Returns the output options that the log uses.
    #[must_use]
    pub fn log(&self) -> OutputArgs {
        OutputArgs { verbose: self.output.verbose, quiet: self.output.quiet, ..OutputArgs::default() }
    }

    /// Returns the wanted protocols.
    #[must_use]
    pub fn protos(&self) -> Protos {
        let letters = [(self.tcp, "tcp"), (self.udp, "udp"), (self.udp, "udplite"), (self.unix, "unix")];
        let by_letter = |proto: Proto| letters.iter().any(|(given, name)| *given && *name == proto.name());
        let any_letter = letters.iter().any(|(given, _)| *given);
        let (excluded, included): (Vec<_>, Vec<_>) = self.filter.proto.iter().partition(|selector| selector.exclude);
        let named = |list: &[&Selector<&str>], proto: Proto| list.iter().any(|one| one.value == proto.name());
        Protos::that(|proto| {
            let wanted = if any_letter || !included.is_empty() {
                by_letter(proto) || named(&included, proto)
            } else {
                self.all || proto.is_internet()
            };
            wanted && !named(&excluded, proto)
        })
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
        ] {
            if given {
                return Err(format!("{option} is about events: use it with `tracer live`"));
            }
        }
        if filter.follow && filter.pid.is_empty() {
            return Err(crate::filter::FilterError::FollowWithoutPid.to_string());
        }
        if Proto::ALL.into_iter().all(|proto| !self.protos().has(proto)) {
            return Err("these options leave no protocol to show".to_owned());
        }
        Ok(())
    }
}

fn state(text: &str) -> Result<Selector<State>, String> {
    let (exclude, word) = match text.trim().strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, text.trim()),
    };
    State::from_word(word).map(|value| Selector { value, exclude }).ok_or_else(|| {
        let names: Vec<String> = State::ALL.iter().map(|state| state.name().to_lowercase()).collect();
        let meant = nearest_of(word, names.iter().map(String::as_str));
        let meant = meant.map_or_else(String::new, |name| format!(", did you mean {name}?"));
        format!("no such state{meant}; there are: {}", names.join(", "))
    })
}
