//! The filter options: the same words in every command that shows connections.

use std::time::Duration;

use tracer_stream::{Kind, Role, Verdict};

use super::glob::Glob;
use super::names::Names;
use super::parse::{Cgroup, ContainerName, Netns, Pid, PortRange, Prefix, ReasonName, Selector, User};

const ROLES: Names<Role> =
    Names { all: &[Role::Client, Role::Server, Role::Listener, Role::Unknown], name: |role| role.name() };
const VERDICTS: Names<Verdict> = Names { all: &Verdict::ALL, name: |verdict| verdict.name() };
pub(super) const PROTOCOLS: Names<&str> = Names { all: &["tcp", "udp", "icmp", "icmpv6"], name: |name| name };
/// The protocols of `tracer sockets`.
pub const SOCKET_PROTOCOLS: Names<&str> =
    Names { all: &["tcp", "udp", "udplite", "raw", "icmp", "sctp", "unix", "packet", "netlink"], name: |name| name };
const EVENTS: Names<&str> = Names { all: &Kind::NAMES, name: |name| name };

/// Which connections and events to show.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// Connections of these processes
    #[arg(short, long, value_name = "PID,...", value_delimiter = ',')]
    pub pid: Vec<Selector<Pid>>,

    /// Also connections of processes that they start, or have started
    #[arg(short, long)]
    pub follow: bool,

    /// Connections of processes, or threads, with this name; `*`, `?` and `[a-z]` as in the shell
    #[arg(long, value_name = "GLOB,...", value_delimiter = ',')]
    pub comm: Vec<Selector<Glob>>,

    /// Connections of processes with these effective users
    #[arg(long, value_name = "USER,...", value_delimiter = ',')]
    pub uid: Vec<Selector<User>>,

    /// Connections of processes in this cgroup or below it
    #[arg(long, value_name = "PATH,...", value_delimiter = ',')]
    pub cgroup: Vec<Selector<Cgroup>>,

    /// Connections of processes in this container: the beginning of its id, or its name if the cgroup path has one
    #[arg(long, value_name = "ID|NAME,...", value_delimiter = ',')]
    pub container: Vec<Selector<ContainerName>>,

    /// Connections in this network namespace, and packets dropped in it: given by process, `ip netns` name or inode
    /// number
    #[arg(long, value_name = "PID|NAME|INODE,...", value_delimiter = ',')]
    pub netns: Vec<Selector<Netns>>,

    /// Local or remote port
    #[arg(long, value_name = "N|A-B,...", value_delimiter = ',')]
    pub port: Vec<Selector<PortRange>>,

    /// Local port
    #[arg(long, value_name = "N|A-B,...", value_delimiter = ',')]
    pub lport: Vec<Selector<PortRange>>,

    /// Remote port
    #[arg(long, value_name = "N|A-B,...", value_delimiter = ',')]
    pub rport: Vec<Selector<PortRange>>,

    /// Local or remote address
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',')]
    pub addr: Vec<Selector<Prefix>>,

    /// Local address
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',')]
    pub laddr: Vec<Selector<Prefix>>,

    /// Remote address
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',')]
    pub raddr: Vec<Selector<Prefix>>,

    /// IPv4 sockets only
    #[arg(short = '4')]
    pub ipv4: bool,

    /// IPv6 sockets only (including those that talk IPv4)
    #[arg(short = '6')]
    pub ipv6: bool,

    /// Side of the connection
    #[arg(long, value_name = "ROLE,...", value_delimiter = ',', value_parser = ROLES)]
    pub role: Vec<Selector<Role>>,

    /// Protocol
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = PROTOCOLS)]
    pub proto: Vec<Selector<&'static str>>,

    /// Kinds of events (`lost` is always shown, unless `!lost`; `process` only if it is among these)
    #[arg(long, value_name = "KIND,...", value_delimiter = ',', value_parser = EVENTS)]
    pub event: Vec<Selector<&'static str>>,

    /// Only the ends of connections with this verdict
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = VERDICTS)]
    pub verdict: Vec<Selector<Verdict>>,

    /// Only drops and resets with this reason, such as NO_SOCKET or NETFILTER_DROP
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub reason: Vec<Selector<ReasonName>>,

    /// Only the ends of connections that failed or had no answer
    #[arg(long)]
    pub failed: bool,

    /// Only the ends of connections that lasted at least this long: 500ms, 10s, 2m, 1h
    #[arg(long, value_name = "T", value_parser = tracer_words::time::time)]
    pub min_duration: Option<Duration>,

    /// No connections to the loopback address
    #[arg(long)]
    pub no_loopback: bool,
}
