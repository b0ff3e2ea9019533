//! The command line.

mod drops;
mod explain;
mod kernel;
mod net;
mod output;
mod sockets;
pub mod value;
mod why;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

pub use drops::DropsArgs;
pub use explain::ExplainArgs;
pub use kernel::KernelArgs;
pub use net::NetArgs;
pub use output::{Color, OutputArgs};
pub use sockets::{SocketsArgs, SocketsOutput};
pub use why::WhyArgs;

use crate::filter::{FilterArgs, FilterError};
use crate::stderr;
use crate::view::escape::{self, Escaped};

/// The meaning of filter values.
pub const VALUES: &str = "\
A,B means either of the values, '!A' anything but A; filters of different kinds must all hold.
Quote the exclamation mark: it is special to shells.";

/// The meaning of the exit status.
pub const EXIT_STATUS: &str = "\
0 fine, 1 failed while running, 2 wrong usage, 3 events were lost (with --strict).
`tracer run` has the status of the command, 128+N if signal N ended it, 125 if tracer failed,
126 or 127 if the command could not be started.";

/// Examples to copy.
pub const EXAMPLES: &str = "  sudo tracer why                                  what is wrong: whose, where, and why
  tracer                                           everything on this host, until Ctrl-C
  tracer -p 1234 -f                                one process and its descendants
  tracer --failed --no-loopback                    connections that failed
  tracer --raddr 10.0.0.0/8 --rport '!443' --json  one network, without HTTPS
  tracer run -- curl http://localhost/             one command
  tracer explain TIME_WAIT NO_SOCKET 111           their meaning, and where to look
  tracer drops                                     packets dropped now: why, where, whose
  tracer net                                       the state of the network on one page
  tracer sockets -l                                who listens where
  tracer doctor                                    the hooks that work on this kernel";

fn after_help() -> String {
    format!("Filters: {VALUES}\n\nExit status: {EXIT_STATUS}\n\nExamples:\n{EXAMPLES}")
}

/// Shows every TCP connection of this host: who opened it, and how it ended.
///
/// Without a command, `tracer` means `tracer live`.
#[derive(Debug, Parser)]
#[command(name = "tracer", bin_name = "tracer", version, after_help = after_help(), args_conflicts_with_subcommands = true)]
struct Line {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    live: LiveArgs,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Show connections as they come and go (this is what tracer does without a command)
    Live(LiveArgs),
    /// Start a command and show its connections and those of its descendants
    Run(RunArgs),
    /// Say what is wrong with the network: who suffers, from what, where, whose doing it is
    Why(WhyArgs),
    /// Show the packets that the kernel drops, added up: why, where, whose
    Drops(Box<DropsArgs>),
    /// Show the state of the network: problems first, then devices, sockets, tables
    Net(NetArgs),
    /// List open sockets of every network namespace, with their owners
    ///
    /// TCP, UDP, raw, ICMP and SCTP sockets; Unix, packet and netlink sockets with --proto or --all.
    /// Without root the owners of other users' sockets are unknown: tracer says how many.
    Sockets(Box<SocketsArgs>),
    /// Report what this kernel and these privileges allow, hook by hook
    Doctor(DoctorArgs),
    /// Explain a drop reason, reset reason, TCP state, verdict, errno or counter
    Explain(ExplainArgs),
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the JSON Schema of every line of --json
    Schema,
    /// Print the man page
    Man,
}

/// `tracer live`
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LiveArgs {
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

/// `tracer run`
#[derive(Clone, Debug, clap::Args)]
#[command(override_usage = "tracer run [OPTIONS] -- CMD [ARG]...")]
pub struct RunArgs {
    /// Run the command as this user (under sudo: the user who called it)
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// The filters.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// The output options.
    #[command(flatten)]
    pub output: OutputArgs,
    /// The kernel options.
    #[command(flatten)]
    pub kernel: KernelArgs,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD",
          value_hint = clap::ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// `tracer doctor`
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DoctorArgs {
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// The kernel options.
    #[command(flatten)]
    pub kernel: KernelArgs,
}

/// Returns the definition behind help, completions and man page.
#[must_use]
pub fn definition() -> clap::Command {
    Line::command()
}

/// Reads the process's command line. Ends the process, with status 2, if it is wrong, and with
/// status 0 if it asks for help or the version.
#[must_use]
pub fn parse() -> Command {
    try_parse_from(std::env::args_os()).unwrap_or_else(|error| end(&error))
}

/// Ends the process as clap does, but escapes the repeated words of the command line: a script may have
/// put hostile text there.
fn end(error: &clap::Error) -> ! {
    let plain = |word: OsString| word.to_str().is_some_and(|word| word.chars().all(escape::is_plain));
    if std::env::args_os().all(plain) || !error.use_stderr() {
        error.exit();
    }
    for line in error.render().to_string().lines() {
        stderr::say(format_args!("{}\n", Escaped(line)));
    }
    std::process::exit(error.exit_code());
}

/// Reads a command line; the first of `words` is the program's name.
///
/// # Errors
/// The text to print, with its exit status.
pub fn try_parse_from<I, T>(words: I) -> Result<Command, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let line = Line::try_parse_from(words)?;
    let command = line.command.unwrap_or(Command::Live(line.live));
    if let Command::Live(LiveArgs { kernel, .. })
    | Command::Run(RunArgs { kernel, .. })
    | Command::Doctor(DoctorArgs { kernel, .. }) = &command
    {
        check_kernel(kernel)?;
    }
    match &command {
        Command::Live(live) if live.filter.follow && live.filter.pid.is_empty() => {
            Err(wrong_usage(FilterError::FollowWithoutPid))
        }
        Command::Run(run) if !run.filter.pid.is_empty() => Err(wrong_usage(FilterError::PidWithRun)),
        Command::Live(LiveArgs { filter, .. }) | Command::Run(RunArgs { filter, .. }) => {
            filter.check().map_err(wrong_usage)
        }
        Command::Drops(drops) => {
            check_kernel(&drops.kernel)?;
            drops.check().map_err(wrong_usage)
        }
        Command::Why(why) => return check_kernel(&why.kernel).map(|()| command),
        Command::Sockets(sockets) => sockets.check().map_err(wrong_usage),
        _ => Ok(()),
    }?;
    Ok(command)
}

fn check_kernel(kernel: &KernelArgs) -> Result<(), clap::Error> {
    match kernel.torn() {
        Some(hook) => Err(wrong_usage(format!("--backend names two links for {}: leave one of them", hook.name()))),
        None => Ok(()),
    }
}

/// Makes an error of the command line that was found after parsing: prints like the others, status 2.
#[must_use]
pub fn wrong_usage(message: impl std::fmt::Display) -> clap::Error {
    let text = message.to_string();
    // Plain text stays unescaped: some of our own messages have a backslash.
    let text = if text.chars().all(escape::is_plain) { text } else { Escaped(&text).to_string() };
    definition().error(ErrorKind::ValueValidation, text)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::kernel::backend::{Hook, chain};
    use crate::trace::running::Types;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        try_parse_from(std::iter::once("tracer").chain(line.split_whitespace()))
    }

    fn live(line: &str) -> LiveArgs {
        match parse(line).unwrap() {
            Command::Live(live) => live,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn live_is_what_is_meant_without_a_command() {
        for line in ["-p 1,2 --json -4 --port 80,443", "live -p 1 -p 2 --json -4 --port 80 --port 443"] {
            let live = live(line);
            assert_eq!(live.filter.pid.len(), 2, "{line}");
            assert_eq!(live.filter.port.len(), 2, "{line}");
            assert!(live.output.json && live.filter.ipv4 && !live.filter.ipv6);
        }
        assert!(!live("").output.json);
    }

    #[test]
    fn every_option_of_the_contract_is_there() {
        let live = live(
            "-p 1 -f --comm a* --uid root --cgroup /a --container c --netns n --port 1 --lport 2 --rport 3 --addr ::/0 \
             --laddr ::1 --raddr ::1 -4 -6 --role client --proto tcp --event close --verdict refused,!unknown --failed \
             --min-duration 1s --no-loopback --json --color never -w --utc -n -q --duration 2s --count 3 --strict -vv \
             --states --buffer 1M -o /tmp/x",
        );
        assert_eq!(live.output.verbose, 2);
        assert_eq!(live.output.buffer, Some(1 << 20));
        assert_eq!(live.output.count, Some(3));
        assert_eq!(live.output.color, Color::Never);
        assert_eq!(live.filter.verdict.iter().map(|verdict| verdict.exclude).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn every_link_of_every_hook_has_a_name() {
        for hook in Hook::ALL {
            for link in chain(hook) {
                let live = live(&format!("--backend {}={}", hook.name(), link.backend));
                assert_eq!(live.kernel.backend, [(hook, link.backend)]);
            }
        }
        assert_eq!(live("--btf none").kernel.btf, Some(Types::None));
        assert_eq!(live("--btf ./none").kernel.btf, Some(Types::File("./none".into())));
    }

    #[test]
    fn run_takes_the_rest_of_the_line() {
        for (line, words) in [
            ("run -- curl -v --json", &["curl", "-v", "--json"][..]),
            ("run --json -o /tmp/x --user nobody -- sh -c true", &["sh", "-c", "true"]),
            ("run -f curl -p 80", &["curl", "-p", "80"]),
        ] {
            let Command::Run(run) = parse(line).unwrap() else { panic!("{line}") };
            assert_eq!(run.command, words);
        }
    }

    #[test]
    fn net_watches_and_counts() {
        let Command::Net(net) = parse("net --netns 4026531840 -a --watch 0.5 --count 3 --json").unwrap() else {
            panic!()
        };
        assert!(net.all && net.json && !net.all_netns);
        assert_eq!((net.watch, net.count), (Some(std::time::Duration::from_millis(500)), Some(3)));
        assert_eq!(net.netns, Some(crate::filter::parse::Netns::Inode(4_026_531_840)));
        for (line, part) in [
            ("net --count 3", "--watch"),
            ("net --netns 1 --all-netns", "--all-netns"),
            ("net --watch 0", "longer than zero"),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn drops_are_told_apart_by_what_is_asked_for() {
        use crate::drops::{Order, Part};

        let drops = |line: &str| match parse(line) {
            Ok(Command::Drops(drops)) => drops,
            other => panic!("{line}: {other:?}"),
        };
        let usual = drops("drops");
        assert_eq!((usual.by.as_slice(), usual.sort, usual.rows), (&Part::ALL[..], Order::Rate, None));
        assert_eq!(usual.interval, std::time::Duration::from_secs(1));
        let other = drops("drops --by owner,reason --sort last --rows 5 --interval 500ms --stack -p 1 -w --count 3");
        assert_eq!(
            (other.by.as_slice(), other.sort, other.rows),
            (&[Part::Owner, Part::Reason][..], Order::Last, Some(5))
        );
        assert!(other.output.stack && other.output.wide && other.output.count == Some(3));
        let filter = other.drops_only().resolve(&crate::filter::Host::default()).unwrap();
        assert!(filter.shows_kind("drop") && !filter.shows_kind("reset") && !filter.shows_kind("close"));
    }

    #[test]
    fn the_other_commands() {
        assert!(matches!(parse("doctor --json"), Ok(Command::Doctor(DoctorArgs { json: true, .. }))));
        assert!(matches!(parse("completions bash"), Ok(Command::Completions { shell: clap_complete::Shell::Bash })));
        assert!(matches!(parse("man"), Ok(Command::Man)));
        assert!(matches!(parse("schema"), Ok(Command::Schema)));
        let Ok(Command::Explain(explain)) = parse("explain NO_SOCKET -111 --json") else { panic!() };
        assert_eq!((explain.names.len(), explain.json, explain.list), (2, true, None));
        let Ok(Command::Explain(explain)) = parse("explain --list") else { panic!() };
        assert_eq!(explain.list, Some(None));
    }

    #[test]
    fn old_connections_are_shown_on_request() {
        for (line, open, open_at_end) in [
            ("", false, false),
            ("-v", true, true),
            ("--event open", true, false),
            ("--event close", false, true),
            ("--verdict open_at_end", false, true),
            ("--event !open", false, false),
        ] {
            let live = live(line);
            let filter = live.filter.resolve(&crate::filter::Host::default()).unwrap();
            let options = live.output.text_options(&filter, false);
            assert_eq!((options.open, options.open_at_end), (open, open_at_end), "{line}");
        }
    }

    #[test]
    fn wrong_usage_is_told_with_status_2() {
        for (line, part) in [
            ("-f", "add --pid PID"),
            ("live -f", "add --pid PID"),
            ("run", "CMD"),
            ("run -p 1 -- true", "tracer live --pid PID"),
            ("run --", "CMD"),
            ("-p x", "such as 1234"),
            ("--port 0", "8000-8099"),
            ("--port 80,", "a value is missing"),
            ("--port", "a value is required"),
            ("--addr 10.0.0.0/33", "at most 32"),
            ("--role servant", "possible values: client, server"),
            ("--event opened", "possible values: listen, connect"),
            ("--verdict closed", "closed_local"),
            ("--proto sctp", "possible values: tcp"),
            ("--failed --event connect", "add `close` to --event"),
            ("--duration 0", "longer than zero"),
            ("--count 0", "--count"),
            ("--buffer 3M", "use 2M or 4M"),
            ("--color sometimes", "auto, always, never"),
            ("--backend tcp_connect", "write HOOK=LINK"),
            ("--backend tcp=kprobe", "there are sched_process, tcp_destroy_sock"),
            ("doctor --backend tcp_connect=tp_btf", "it has fentry, kprobe, syscall"),
            ("run --backend tcp_connect=kprobe --backend tcp_connect=syscall -- true", "two links for tcp_connect"),
            ("drops --event close", "use it with `tracer live`"),
            ("drops --states", "use it with `tracer live`"),
            ("drops -f", "add --pid PID"),
            ("drops --by colour", "possible values: reason, location, owner, flow"),
            ("drops --interval 0", "longer than zero"),
            ("drops --rows 0", "--rows"),
            ("drops --backend kfree_skb=raw_tp --backend kfree_skb=tp_btf", "two links for kfree_skb"),
            ("--sockets 0", "--sockets"),
            ("--nonsense", "--nonsense"),
            ("nonsense", "nonsense"),
            ("--json live", "live"),
            ("completions klingon", "bash"),
            ("explain --list nonsense", "possible values: drop"),
            ("explain --list drop NO_SOCKET", "--list"),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.use_stderr(), "{line}");
            assert!(error.to_string().contains(part), "{line}: {error}");
        }
    }

    /// The short help of every command; clap wraps it as wide as the terminal.
    #[test]
    fn help_of_every_command() {
        let names: Vec<String> = definition().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        assert!(names.len() >= 9, "{names:?}");
        for name in names.iter().map(String::as_str).chain(["tracer"]) {
            let mut all = String::new();
            for columns in [80, 100, 200] {
                let mut command = definition().term_width(columns);
                command.build();
                let command = command.find_subcommand_mut(name).cloned().unwrap_or(command);
                all.push_str(&format!("{:─^columns$}\n", format!(" {columns} columns ")));
                all.push_str(&command.clone().render_help().to_string());
            }
            let mut settings = insta::Settings::clone_current();
            settings.set_omit_expression(true);
            settings.set_prepend_module_to_snapshot(false);
            settings.bind(|| insta::assert_snapshot!(format!("help_{name}"), all));
        }
    }

    #[test]
    fn help_and_version_are_no_errors() {
        for line in ["--help", "-h", "--version", "live --help", "run -h"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 0, "{line}");
        }
        for option in ["--buffer", "--backend", "--btf", "--sockets", "--no-sandbox"] {
            for command in ["", "live ", "run "] {
                let help = |flag| parse(&format!("{command}{flag}")).unwrap_err().to_string();
                assert!(!help("-h").contains(option) && help("--help").contains(option), "{command}{option}");
            }
        }
        assert!(parse("doctor --help").unwrap_err().to_string().contains("fentry, kprobe, syscall"));
    }
}
