//! Processes as objects: the owner of a socket, the `process` event, and the short form.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};

use super::{Owner, ProcessFacts, is_false};

/// The process that opened a socket, as it was at that moment.
#[derive(Serialize, JsonSchema)]
struct Opener<'a> {
    /// Process id in the initial pid namespace (of `tracer sockets`: in the one that /proc shows).
    pid: u32,
    /// The thread that opened the socket; the process's id where only the process is known.
    tid: u32,
    /// The process's name.
    comm: &'a str,
    /// The thread's name, where it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<&'a str>,
    /// The executable's path; it ends in ` (deleted)` if the file was unlinked.
    exe: Option<&'a str>,
    /// Effective uid.
    uid: Option<u32>,
    #[serde(flatten)]
    place: Place<'a>,
    /// Start of the process, `CLOCK_BOOTTIME` ns.
    start_ns: Option<u64>,
    /// `timeout`: the process did not answer in time, and missing facts were not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    facts: Option<&'static str>,
}

/// The cgroup of a process, and its names.
#[derive(Serialize, JsonSchema)]
struct Place<'a> {
    /// The cgroup path, 4 KiB of it at most.
    cgroup: Option<&'a str>,
    /// The container that the cgroup path names.
    container: Option<&'a str>,
    /// `docker`, `containerd`, `cri-o`, `podman`, `lxc`, `nspawn` or `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    container_runtime: Option<&'static str>,
    /// The creator of the cgroup need not be a runtime: its parent directory is delegated.
    #[serde(skip_serializing_if = "is_false")]
    container_claimed: bool,
    /// The unit of systemd that the cgroup path names.
    unit: Option<&'a str>,
}

impl<'a> From<&'a ProcessFacts> for Place<'a> {
    fn from(facts: &'a ProcessFacts) -> Self {
        let container = facts.container.as_ref();
        Self {
            cgroup: facts.cgroup.as_deref(),
            container: container.map(|container| container.id.as_str()),
            container_runtime: container.map(|container| container.runtime),
            container_claimed: container.is_some_and(|container| container.claimed),
            unit: facts.unit.as_deref(),
        }
    }
}

impl Serialize for Owner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let facts = &*self.facts;
        let opener = Opener {
            pid: self.pid,
            tid: self.tid,
            comm: &self.comm,
            thread: self.thread.as_deref(),
            exe: facts.exe.as_deref(),
            uid: self.uid,
            place: facts.into(),
            start_ns: self.start_ns,
            facts: facts.late.then_some("timeout"),
        };
        opener.serialize(serializer)
    }
}

impl JsonSchema for Owner {
    fn schema_name() -> Cow<'static, str> {
        "owner".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Opener::json_schema(generator)
    }
}

/// The facts of a process.
#[derive(Serialize, JsonSchema)]
pub struct Process<'a> {
    /// Process id in the initial pid namespace.
    pid: u32,
    /// Start of the process, `CLOCK_BOOTTIME` ns.
    start_ns: Option<u64>,
    /// Its name.
    comm: &'a str,
    /// The executable's path; it ends in ` (deleted)` if the file was unlinked.
    exe: Option<&'a str>,
    /// The arguments, 4 KiB of them at most.
    cmdline: Option<&'a [String]>,
    /// There were more.
    #[serde(skip_serializing_if = "is_false")]
    cmdline_cut: bool,
    /// Real uid.
    uid: Option<u32>,
    /// Effective uid.
    euid: Option<u32>,
    #[serde(flatten)]
    place: Place<'a>,
}

/// Writes a process with all its facts, for serde.
pub fn whole<S: Serializer>(process: &Owner, serializer: S) -> Result<S::Ok, S::Error> {
    let facts = &*process.facts;
    let process = Process {
        pid: process.pid,
        start_ns: process.start_ns,
        comm: &process.comm,
        exe: facts.exe.as_deref(),
        cmdline: facts.cmdline.as_deref(),
        cmdline_cut: facts.cmdline_cut,
        uid: process.real_uid,
        euid: process.uid,
        place: facts.into(),
    };
    process.serialize(serializer)
}

/// The identity of a process whose other facts stand elsewhere.
#[derive(Serialize, JsonSchema)]
pub struct Short<'a> {
    /// Process id.
    pid: u32,
    /// Its name.
    comm: &'a str,
}

impl<'a> From<&'a Owner> for Short<'a> {
    fn from(owner: &'a Owner) -> Self {
        Self { pid: owner.pid, comm: &owner.comm }
    }
}
