//! Errors in a filter.

use std::io;
use std::path::PathBuf;

/// An invalid filter: wrong usage, so the command ends with status 2 before it traces.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum FilterError {
    #[error("a value is missing; give values separated by commas, without spaces")]
    Empty,
    #[error("a process id is a number from 1 to 4194304, such as 1234")]
    Pid,
    #[error("a port is a number from 1 to 65535 or a range such as 8000-8099")]
    Port,
    #[error("the range {low}-{high} is empty; write {high}-{low}")]
    PortRange { low: u16, high: u16 },
    #[error("an address is IPv4 or IPv6, alone or with a prefix length, such as 10.0.0.0/8 or 2001:db8::/32")]
    Address,
    #[error("the prefix length of an {family} address is at most {most}")]
    PrefixLength { family: &'static str, most: u8 },
    #[error("leave out the part from `%` on; use --netns or --laddr to tell equal link-local addresses apart")]
    AddressScope,
    #[error("the pattern has a `[` without `]`; write `\\[` for a plain bracket")]
    GlobBracket,
    #[error("the pattern ends in `\\`; write `\\\\` for a plain backslash")]
    GlobBackslash,
    #[error("the range {low:?}-{high:?} in the pattern is empty")]
    GlobRange { low: char, high: char },
    #[error("a cgroup is a path such as /system.slice/nginx.service; `..` cannot be part of it")]
    Cgroup,
    #[error("a reason is a name of the kernel's, such as NO_SOCKET or NETFILTER_DROP")]
    Reason,
    #[error("unknown reason {name}{} (`tracer explain --list drop` has all)", meant(suggestion.as_deref()))]
    UnknownReason { name: String, suggestion: Option<String> },
    #[error("this kernel has no reason {name}{}", elsewhere(kernels))]
    ReasonOfOthers { name: String, kernels: Vec<&'static str> },
    #[error("reason {name} is a module's, and this kernel knows it by number only: --reason {subsystem}_NUMBER")]
    ReasonOfModule { name: String, subsystem: &'static str },
    #[error("--follow (-f) needs the process to follow: add --pid PID")]
    FollowWithoutPid,
    #[error("`run` traces the command that it starts; to watch a running process use `tracer live --pid PID`")]
    PidWithRun,
    #[error("{option} selects `close` events, but --event leaves them out; add `close` to --event, or drop {option}")]
    NothingLeft { option: &'static str },
    #[error("no such process: {pid}; it may have ended, see `ps -e` for the running ones")]
    NoSuchProcess { pid: u32 },
    #[error("{} shows no processes: mount it (`mount -t proc proc /proc`), then a process can be looked up", proc.display())]
    NoProc { proc: PathBuf },
    #[error("{tid} is a thread of process {pid}; use --pid {pid}")]
    IsThread { tid: u32, pid: u32 },
    #[error("no such user: {name}; give a name that `getent passwd` knows, or a number")]
    NoSuchUser { name: String },
    #[error("no such network namespace: {name}; give a name of `ip netns list`, a process id, or an inode number")]
    NoSuchNetns { name: String },
    #[error("cannot read {}: {source}; try as root", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
}

fn meant(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

/// The kernels that have the reason.
fn elsewhere(kernels: &[&str]) -> String {
    match kernels {
        [] => String::new(),
        [only] => format!("; {only} has it"),
        [others @ .., last] => format!("; {} and {last} have it", others.join(", ")),
    }
}
