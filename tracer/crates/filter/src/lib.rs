//! Decides which connections and events are shown.
//!
//! [`FilterArgs`] is the command line, [`Filter`] the same with every name looked up, and [`kernel::KernelFilter`] the
//! part of it that the kernel side decides on its own.

mod args;
mod choice;
mod error;
mod form;
mod gate;
mod glob;
pub mod kernel;
mod left_out;
mod lookup;
mod names;
mod netns;
pub mod parse;
mod pid_set;
mod reason;
mod resolve;

use std::time::Duration;

pub use args::{FilterArgs, SOCKET_PROTOCOLS};
use choice::{Choice, Side};
pub use error::FilterError;
use glob::Glob;
pub use left_out::LeftOut;
pub use lookup::{Lookup, Process};
pub use netns::{NamedNetns, WantedNetns};
use parse::{Cgroup, ContainerName, PortRange, Prefix, ReasonName};
pub use pid_set::PidSet;
pub use reason::check as check_reasons;
use serde::{Deserialize, Serialize};
use tracer_core::findings::SOURCES;
use tracer_stream::{Close, Kind, Owner, OwnerSource, Role, Socket, Verdict};

/// The decision on an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Show it.
    Pass,
    /// Hide it: no later knowledge about the connection changes that.
    Reject,
    /// A fact that the filter needs is unknown so far: hold the event back.
    Undecided,
}

/// The answer of one criterion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    /// The fact is unknown; if it stays unknown: yes.
    UnknownYes,
    /// The fact is unknown; if it stays unknown: no.
    UnknownNo,
}

/// All filter options, resolved; the default passes everything. Its written form has every option by its name, and an
/// option that is not there is not given.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// `None` if no process was named.
    pids: Option<PidSet>,
    not_pids: PidSet,
    follow: bool,
    comm: Choice<Glob>,
    uid: Choice<u32>,
    cgroup: Choice<Cgroup>,
    container: Choice<ContainerName>,
    netns: Choice<NamedNetns>,
    port: Choice<PortRange>,
    lport: Choice<PortRange>,
    rport: Choice<PortRange>,
    addr: Choice<Prefix>,
    laddr: Choice<Prefix>,
    raddr: Choice<Prefix>,
    /// 4 or 6.
    family: Option<u8>,
    role: Choice<Role>,
    #[serde(with = "form::protocols")]
    proto: Choice<&'static str>,
    #[serde(with = "form::events")]
    event: Choice<&'static str>,
    verdict: Choice<Verdict>,
    reason: Choice<ReasonName>,
    failed: bool,
    min_duration: Option<Duration>,
    no_loopback: bool,
}

impl Filter {
    /// Decides on an event of `socket` with the facts known now.
    ///
    /// The caller should keep the decision on the connection itself ([`Filter::decide_connection`]): the owner may
    /// change its name or end.
    #[must_use]
    pub fn decide(&self, socket: &Socket<'_>, kind: &Kind<'_>) -> Decision {
        if self.shows(kind) { self.decide_connection(socket) } else { Decision::Reject }
    }

    /// Decides on an event of `socket` when no more facts will come: an unknown value is in no set of wanted values and
    /// in no set of excluded ones. The listener's owner counts as the owner of a connection that was not accepted.
    #[must_use]
    pub fn decide_final(&self, socket: &Socket<'_>, kind: &Kind<'_>) -> bool {
        self.shows(kind) && self.decide_connection_final(socket)
    }

    /// Decides on the connection, independent of the event.
    #[must_use]
    pub fn decide_connection(&self, socket: &Socket<'_>) -> Decision {
        let mut decision = Decision::Pass;
        for criterion in CRITERIA {
            match criterion(self, socket, false) {
                Answer::Yes => {}
                Answer::No => return Decision::Reject,
                Answer::UnknownYes | Answer::UnknownNo => decision = Decision::Undecided,
            }
        }
        decision
    }

    /// Like [`Filter::decide_final`], independent of the event.
    #[must_use]
    pub fn decide_connection_final(&self, socket: &Socket<'_>) -> bool {
        CRITERIA.iter().all(|criterion| matches!(criterion(self, socket, true), Answer::Yes | Answer::UnknownYes))
    }

    /// Whether events of this kind are shown: `--event`, and the options that select ends of connections.
    #[must_use]
    pub fn shows(&self, kind: &Kind<'_>) -> bool {
        let name = kind.name();
        match kind {
            // The user must not take an incomplete stream for a complete one.
            Kind::Lost { .. } => !self.event.exclude.contains(&name),
            // Independent of the events behind it.
            Kind::Finding(_) | Kind::Process(_) => self.event.passes(|event| *event == name),
            Kind::Close(close) => {
                self.event.passes(|event| *event == name) && self.wants_end(close) && self.wants_reason(kind)
            }
            _ => self.shows_kind(name) && self.wants_reason(kind),
        }
    }

    /// Whether findings may rest on this event: applies all options that select events but `--event`, which selects the
    /// output.
    #[must_use]
    pub fn feeds_findings(&self, kind: &Kind<'_>) -> bool {
        match kind {
            // It supports no finding, but shows a queue's length.
            Kind::Listen { .. } => true,
            Kind::Close(close) => self.wants_end(close) && self.wants_reason(kind),
            _ => !self.wants_ends_only() && self.wants_reason(kind),
        }
    }

    /// Whether events of the kind of this name may be shown.
    #[must_use]
    pub fn shows_kind(&self, name: &str) -> bool {
        self.event.passes(|event| *event == name) && !self.wants_ends_only()
    }

    /// Whether events of the kind of this name are of any use: they are shown, or a wanted finding may rest on them.
    /// Other kinds need not be traced.
    #[must_use]
    pub fn needs_kind(&self, name: &str) -> bool {
        let has_reason = ["drop", "reset"].contains(&name) || self.reason.include.is_empty();
        let is_source = self.asks_for("finding") && SOURCES.contains(&name);
        has_reason && (self.shows_kind(name) || is_source && !self.wants_ends_only())
    }

    /// Whether `--reason` names a wanted reason.
    #[must_use]
    pub fn asks_for_reason(&self) -> bool {
        !self.reason.include.is_empty()
    }

    /// Applies `--reason`: an event without a reason is shown unless a reason is wanted.
    fn wants_reason(&self, kind: &Kind<'_>) -> bool {
        if self.reason.is_empty() {
            return true;
        }
        let reason = match kind {
            Kind::Drop(drop) => drop.reason.as_deref(),
            Kind::Reset { reason, .. } => *reason,
            _ => None,
        };
        match reason {
            Some(reason) => self.reason.passes(|wanted| wanted.0 == reason),
            None => self.reason.include.is_empty(),
        }
    }

    /// Whether every transition has to be reported (`--event state`).
    #[must_use]
    pub fn wants_states(&self) -> bool {
        self.event.include.contains(&"state")
    }

    /// Hides `process` unless `--event` names it: text lines have the names of processes, not their arguments.
    pub fn leave_out_processes(&mut self) {
        if !self.asks_for("process") {
            self.event.exclude.push("process");
        }
    }

    /// Whether `--event` wants processes and nothing else: then any of their events emits them.
    #[must_use]
    pub fn wants_processes_only(&self) -> bool {
        matches!(self.event.include.as_slice(), ["process"])
    }

    /// Whether `--event` names this kind as a wanted one.
    #[must_use]
    pub fn asks_for(&self, kind: &str) -> bool {
        self.event.include.contains(&kind)
    }

    /// Whether `--verdict` names this verdict as a wanted one.
    #[must_use]
    pub fn asks_for_verdict(&self, verdict: Verdict) -> bool {
        self.verdict.include.contains(&verdict)
    }

    /// Whether the filter needs to know about forks and ends of processes: call [`Filter::fork`] and [`Filter::exit`].
    #[must_use]
    pub fn follows(&self) -> bool {
        self.follow
    }

    /// Adds a process and its descendants, for `tracer run`. `start_ns` as for [`PidSet::insert`].
    pub fn follow_process(&mut self, pid: u32, start_ns: Option<u64>) {
        self.follow = true;
        self.pids.get_or_insert_with(|| PidSet::new(true)).insert(pid, start_ns);
    }

    /// Adds the current descendants of the named processes. Call it again once forks are reported: neither look sees a
    /// child born between the two.
    ///
    /// # Errors
    /// If /proc cannot be read.
    pub fn add_descendants(&self, lookup: &impl Lookup) -> Result<(), FilterError> {
        if self.follow {
            for set in self.pids.iter().chain([&self.not_pids]) {
                for process in lookup.descendants(&set.alive())? {
                    set.insert(process.pid, Some(process.start_ns));
                }
            }
        }
        Ok(())
    }

    /// Whether `--pid` names processes, wanted or not.
    #[must_use]
    pub fn names_processes(&self) -> bool {
        self.pids.is_some() || !self.not_pids.is_empty()
    }

    /// Whether the process passes `--pid`.
    #[must_use]
    pub fn pid_matches(&self, pid: u32, start_ns: Option<u64>) -> bool {
        self.pids.as_ref().is_none_or(|pids| pids.contains(pid, start_ns)) && !self.not_pids.contains(pid, start_ns)
    }

    /// Notes that `parent` has forked the process `child`, which started at `child_start_ns` (`CLOCK_BOOTTIME`).
    pub fn fork(&self, parent: u32, child: u32, child_start_ns: Option<u64>) {
        for set in self.pids.iter().chain([&self.not_pids]) {
            set.fork(parent, child, child_start_ns);
        }
    }

    /// Notes that the process `pid` has ended.
    pub fn exit(&self, pid: u32) {
        for set in self.pids.iter().chain([&self.not_pids]) {
            set.exit(pid);
        }
    }

    fn wants_ends_only(&self) -> bool {
        self.failed || self.min_duration.is_some() || !self.verdict.is_empty()
    }

    fn wants_end(&self, close: &Close) -> bool {
        let long_enough = self
            .min_duration
            .is_none_or(|least| close.duration_us.is_some_and(|duration| u128::from(duration) >= least.as_micros()));
        long_enough && (!self.failed || close.is_failure()) && self.verdict.passes(|verdict| *verdict == close.verdict)
    }
}

/// A criterion: the filter, the socket, and whether its known facts are final.
type Criterion = fn(&Filter, &Socket<'_>, bool) -> Answer;

/// Cheapest first.
const CRITERIA: [Criterion; 16] = [
    |filter, socket, _| answer(filter.family.is_none_or(|family| family == socket.family || takes(socket, family))),
    |filter, socket, _| answer(filter.role.passes(|role| *role == socket.role)),
    |filter, socket, _| answer(filter.proto.passes(|proto| *proto == socket.proto)),
    netns,
    no_loopback,
    |filter, socket, _| filter.port.judge(&[Side::of(socket.lport), remote(socket, socket.rport)], PortRange::contains),
    |filter, socket, _| filter.lport.judge(&[Side::of(socket.lport)], PortRange::contains),
    |filter, socket, _| filter.rport.judge(&[remote(socket, socket.rport)], PortRange::contains),
    |filter, socket, _| filter.addr.judge(&[Side::of(socket.laddr), remote(socket, socket.raddr)], Prefix::contains),
    |filter, socket, _| filter.laddr.judge(&[Side::of(socket.laddr)], Prefix::contains),
    |filter, socket, _| filter.raddr.judge(&[remote(socket, socket.raddr)], Prefix::contains),
    pid,
    |filter, socket, last| {
        filter.uid.judge(&[owner_fact(socket, last, |owner| Side::of(owner.uid))], |wanted, uid| *wanted == uid)
    },
    |filter, socket, last| {
        filter.comm.judge(&[owner_fact(socket, last, comm), owner_fact(socket, last, thread)], Glob::matches)
    },
    |filter, socket, last| filter.cgroup.judge(&[owner_fact(socket, last, cgroup)], Cgroup::contains),
    |filter, socket, last| filter.container.judge(&[owner_fact(socket, last, container)], ContainerName::matches),
];

/// Whether `socket` takes connections of `family` beside its own: an IPv6 listener at any address takes IPv4, too,
/// unless it is known not to.
fn takes(socket: &Socket<'_>, family: u8) -> bool {
    family == 4
        && socket.family == 6
        && socket.v6only != Some(true)
        && socket.laddr.is_some_and(|addr| addr.is_unspecified() && addr.is_ipv6())
        && (socket.role == Role::Listener || socket.v6only == Some(false))
}

/// A drop has two namespaces if its socket is in another one: that of the drop, and the socket's.
fn netns(filter: &Filter, socket: &Socket<'_>, _: bool) -> Answer {
    let sides = [Side::of(socket.netns), socket.home.map_or(Side::Absent, Side::Known)];
    filter.netns.judge(&sides, NamedNetns::is)
}

fn answer(passes: bool) -> Answer {
    if passes { Answer::Yes } else { Answer::No }
}

/// A fact of the remote side; a listener has no remote side.
fn remote<V>(socket: &Socket<'_>, fact: Option<V>) -> Side<V> {
    match fact {
        Some(value) => Side::Known(value),
        None if socket.role == Role::Listener => Side::Absent,
        None => Side::Unknown,
    }
}

/// A fact of the owner. The listener's owner is the connection's owner only if no other will come.
fn owner_fact<'a, V>(socket: &Socket<'a>, last: bool, fact: impl Fn(&'a Owner) -> Side<V>) -> Side<V> {
    let owner = socket.owner.filter(|_| last || socket.owner_source != OwnerSource::Listener);
    owner.map_or(Side::Unknown, fact)
}

/// A listener on a loopback address has connections from there only.
fn no_loopback(filter: &Filter, socket: &Socket<'_>, _: bool) -> Answer {
    let addr = if socket.role == Role::Listener { socket.laddr } else { socket.raddr };
    match addr {
        _ if !filter.no_loopback => Answer::Yes,
        Some(addr) => answer(!addr.to_canonical().is_loopback()),
        None => Answer::UnknownYes,
    }
}

fn pid(filter: &Filter, socket: &Socket<'_>, last: bool) -> Answer {
    match socket.owner {
        _ if filter.pids.is_none() && filter.not_pids.is_empty() => Answer::Yes,
        Some(owner) if last || socket.owner_source != OwnerSource::Listener => {
            answer(filter.pid_matches(owner.pid, owner.start_ns))
        }
        _ if filter.pids.is_some() => Answer::UnknownNo,
        _ => Answer::UnknownYes,
    }
}

fn cgroup(owner: &Owner) -> Side<&str> {
    Side::of(owner.facts.cgroup.as_deref())
}

fn container(owner: &Owner) -> Side<&str> {
    match (&owner.facts.container, &owner.facts.cgroup) {
        (Some(container), _) => Side::Known(container.id.as_str()),
        // The path is known and names no container.
        (None, Some(_)) => Side::Absent,
        (None, None) => Side::Unknown,
    }
}

fn comm(owner: &Owner) -> Side<&str> {
    Side::Known(owner.comm.as_str())
}

/// The thread's name, if it differs from the process's.
fn thread(owner: &Owner) -> Side<&str> {
    owner.thread.as_deref().map_or(Side::Absent, Side::Known)
}

#[cfg(test)]
mod tests;
