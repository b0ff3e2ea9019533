//! Processes by pid and start time, with their known facts.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use serde::{Deserialize, Serialize};
use tracer_common::record::{EXEC_ARGS, ExecRecord, ForkRecord, Opener, UID_UNKNOWN};
use tracer_stream::{Owner, ProcessFacts, Told};

use super::{forms::FactsForm, question::Found};

/// One process in a snapshot of /proc.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProcessSnapshot {
    /// Process id.
    pub pid: u32,
    /// Start in ns since boot, at the resolution of /proc: 10 ms.
    pub start_ns: u64,
    /// `comm`.
    pub comm: String,
    /// Effective uid.
    pub uid: Option<u32>,
    /// Real uid.
    pub real_uid: Option<u32>,
    /// The rest.
    #[serde(with = "FactsForm")]
    pub facts: ProcessFacts,
}

impl ProcessSnapshot {
    /// Whether this is the process that started at `start_ns`, and not the next one with its number. With an unknown
    /// start (0) it may be.
    #[must_use]
    pub const fn is_about(&self, start_ns: u64) -> bool {
        start_ns == 0 || self.start_ns / TICK_NS == start_ns / TICK_NS
    }
}

/// /proc shows a start in clock ticks, the kernel's records in ns.
const TICK_NS: u64 = 10_000_000;

struct Process {
    start_ns: u64,
    /// The start comes from a kernel record.
    exact: bool,
    comm: String,
    uid: Option<u32>,
    real_uid: Option<u32>,
    facts: Arc<ProcessFacts>,
    /// The `process` event of this program.
    told: Told,
    /// /proc was asked about this program: asking again would add nothing. Before that, the executable may be the
    /// argument of execve, which need not be the resolved path.
    settled: bool,
    /// The kernel's number of its cgroup (version 2) when the cgroup was looked at; 0: it was not looked at.
    cgroup_id: u64,
    /// When that was: the time of the record that made it necessary.
    looked_ns: u64,
    /// The last owner made from it: one thread opens most connections of a process.
    owner: Option<Rc<Owner>>,
}

impl Process {
    /// Whether a kernel record with this start means this process.
    fn is(&self, start_ns: u64) -> bool {
        if self.exact { self.start_ns == start_ns } else { self.is_about(start_ns) }
    }

    /// Whether it may be in another cgroup than at the last look.
    const fn may_have_moved(&self, opener: &Opener, boot_ns: u64) -> bool {
        let by_version_1 = opener.cgroup_id <= ROOT_CGROUP && boot_ns >= self.looked_ns + LOOK_AGAIN_NS;
        opener.cgroup_id != self.cgroup_id || by_version_1
    }

    /// Whether a process of /proc with this start is this process.
    fn is_about(&self, start_ns: u64) -> bool {
        self.start_ns / TICK_NS == start_ns / TICK_NS
    }
}

/// The root of cgroups of version 2 (`cgroup_id()` of `cgrp_dfl_root`). A process there may be in others of version 1,
/// which no record shows.
const ROOT_CGROUP: u64 = 1;
/// The cgroup of such a process is looked at again after this time.
const LOOK_AGAIN_NS: u64 = 1_000_000_000;

/// The processes. One leaves the table when it exits; owners that connections refer to stay.
#[derive(Default)]
pub struct ProcessTable {
    by_pid: HashMap<u32, Process>,
    /// The initial snapshot is over: /proc is newer than it from now on.
    began: bool,
}

impl ProcessTable {
    /// Takes a process as /proc shows it. Replaces the path that an exec record gave: /proc knows the resolved one.
    pub fn snapshot(&mut self, snapshot: ProcessSnapshot) {
        if self.moved(&snapshot) {
            return;
        }
        let known = self.by_pid.get(&snapshot.pid).filter(|known| known.is_about(snapshot.start_ns));
        let (start_ns, exact) = known.map_or((snapshot.start_ns, false), |known| (known.start_ns, known.exact));
        let mut facts = snapshot.facts;
        let told = !facts.late || facts.cmdline.is_some();
        if let Some(known) = known.filter(|known| !known.settled && told && !same_arguments(&known.facts, &facts)) {
            // It has executed another program since the record, or overwritten its arguments: the record has the
            // original ones.
            facts.exe.clone_from(&known.facts.exe);
            facts.cmdline.clone_from(&known.facts.cmdline);
            facts.cmdline_cut = known.facts.cmdline_cut;
        } else if let Some(known) = known {
            if facts.cmdline.is_none() {
                facts.cmdline.clone_from(&known.facts.cmdline);
                facts.cmdline_cut = known.facts.cmdline_cut;
            }
            facts.exe = facts.exe.or_else(|| known.facts.exe.clone());
            if facts.cgroup.is_none() {
                facts.cgroup.clone_from(&known.facts.cgroup);
                facts.container.clone_from(&known.facts.container);
                facts.unit.clone_from(&known.facts.unit);
            }
            // The record of its exec had what /proc did not show.
            facts.late &= facts.cmdline.is_none();
        }
        let process = Process {
            start_ns,
            exact,
            comm: snapshot.comm,
            uid: snapshot.uid,
            real_uid: snapshot.real_uid,
            facts: Arc::new(facts),
            told: known.map(|known| known.told.clone()).unwrap_or_default(),
            settled: true,
            cgroup_id: 0,
            looked_ns: 0,
            owner: None,
        };
        self.by_pid.insert(snapshot.pid, process);
    }

    /// Ends the initial snapshot: from now on records of a program are newer than /proc.
    pub const fn begin(&mut self) {
        self.began = true;
    }

    /// Takes only the cgroup from a look at a process with a known program. Returns whether it was such a look.
    fn moved(&mut self, look: &ProcessSnapshot) -> bool {
        let began = self.began;
        let known = self.by_pid.get_mut(&look.pid);
        let Some(known) = known.filter(|known| began && known.settled && known.is_about(look.start_ns)) else {
            return false;
        };
        if look.facts.cgroup.is_some() && look.facts.cgroup != known.facts.cgroup {
            known.facts = Arc::new(ProcessFacts {
                cgroup: look.facts.cgroup.clone(),
                container: look.facts.container.clone(),
                unit: look.facts.unit.clone(),
                ..(*known.facts).clone()
            });
            known.owner = None;
        }
        true
    }

    /// Copies the parent to its child, until the child executes another program.
    pub fn fork(&mut self, record: &ForkRecord) {
        if self.by_pid.get(&record.pid).is_some_and(|known| known.is(record.start_ns)) {
            return;
        }
        let parent = self.by_pid.get(&record.parent_pid).filter(|parent| parent.is(record.parent_start_ns));
        let Some(parent) = parent else { return };
        let child = Process {
            start_ns: record.start_ns,
            exact: true,
            comm: parent.comm.clone(),
            uid: parent.uid,
            real_uid: parent.real_uid,
            facts: Arc::clone(&parent.facts),
            told: Told::default(),
            settled: parent.settled,
            // The child begins in its parent's cgroup, wherever it is moved to later.
            cgroup_id: parent.cgroup_id,
            looked_ns: 0,
            owner: None,
        };
        self.by_pid.insert(record.pid, child);
    }

    /// Replaces the program of a process. Its cgroup stays.
    pub fn exec(&mut self, record: &ExecRecord) {
        let known = self.by_pid.get(&record.pid).filter(|known| known.is(record.start_ns));
        let path = record.path();
        let facts = ProcessFacts {
            exe: (!path.is_empty()).then(|| String::from_utf8_lossy(path).into_owned()),
            cmdline: arguments(record.args()),
            cmdline_cut: record.args().len() == EXEC_ARGS,
            cgroup: known.and_then(|known| known.facts.cgroup.clone()),
            container: known.and_then(|known| known.facts.container.clone()),
            unit: known.and_then(|known| known.facts.unit.clone()),
            late: false,
        };
        let process = Process {
            start_ns: record.start_ns,
            exact: true,
            comm: comm(&record.comm),
            uid: Some(record.uid).filter(|uid| *uid != UID_UNKNOWN),
            real_uid: Some(record.real_uid),
            facts: Arc::new(facts),
            told: Told::default(),
            settled: false,
            cgroup_id: 0,
            looked_ns: 0,
            owner: None,
        };
        self.by_pid.insert(record.pid, process);
    }

    /// Removes a process.
    pub fn exit(&mut self, pid: u32) {
        self.by_pid.remove(&pid);
    }

    /// Whether a look at /proc could add something about the opener of a socket. Always, where the kernel side does not
    /// know a process's start: then no record shows what it executed.
    #[must_use]
    pub fn lacks(&self, opener: &Opener, boot_ns: u64) -> bool {
        match self.by_pid.get(&opener.pid) {
            Some(process) if opener.start_ns != 0 && process.is(opener.start_ns) => {
                !process.settled || process.may_have_moved(opener, boot_ns)
            }
            _ => true,
        }
    }

    /// Whether /proc was asked about this program of the process.
    #[must_use]
    pub fn is_settled(&self, pid: u32, start_ns: u64) -> bool {
        start_ns != 0 && self.by_pid.get(&pid).is_some_and(|process| process.settled && process.is(start_ns))
    }

    /// Notes that /proc was asked because a record names `opener` ([`Self::lacks`]).
    pub fn looked_at(&mut self, opener: &Opener, boot_ns: u64) {
        let known = self.by_pid.get_mut(&opener.pid).filter(|process| process.is(opener.start_ns));
        if let Some(process) = known.filter(|process| process.may_have_moved(opener, boot_ns)) {
            (process.cgroup_id, process.looked_ns) = (opener.cgroup_id, boot_ns);
        }
    }

    /// Takes the answer to a question about a process.
    pub fn answer(&mut self, pid: u32, start_ns: u64, found: Found) {
        let known = self.is_settled(pid, start_ns);
        let late = matches!(found, Found::Late);
        // The number may belong to another process by now.
        let process = match found {
            Found::Seen(process) if process.is_about(start_ns) => Some(process),
            _ => None,
        };
        // Without a start in the record every look is a first one.
        let settles = process.is_none() || start_ns != 0;
        if let Some(process) = process {
            self.snapshot(process);
        }
        if late && !known {
            self.settle_late(pid, start_ns);
        } else if settles {
            self.settle(pid, start_ns);
        }
    }

    /// Marks a process that /proc knows nothing (more) about, so that it is not asked again.
    fn settle(&mut self, pid: u32, start_ns: u64) {
        // Known facts under this number may belong to another process.
        if start_ns == 0 {
            self.by_pid.remove(&pid);
            return;
        }
        match self.by_pid.get_mut(&pid) {
            Some(process) if process.is(start_ns) => process.settled = true,
            _ => {
                let unknown = Process {
                    start_ns,
                    exact: true,
                    comm: String::new(),
                    uid: None,
                    real_uid: None,
                    facts: Arc::default(),
                    told: Told::default(),
                    settled: true,
                    cgroup_id: 0,
                    looked_ns: 0,
                    owner: None,
                };
                self.by_pid.insert(pid, unknown);
            }
        }
    }

    /// Marks a process whose look timed out, so that it is not asked again; the missing facts stay unknown.
    fn settle_late(&mut self, pid: u32, start_ns: u64) {
        self.settle(pid, start_ns);
        if let Some(process) = self.by_pid.get_mut(&pid).filter(|process| process.is(start_ns)) {
            process.facts = Arc::new(ProcessFacts { late: true, ..(*process.facts).clone() });
            process.owner = None;
        }
    }

    /// The owner that a kernel record of `boot_ns` names, with the known facts of its process.
    pub fn owner(&mut self, opener: &Opener, boot_ns: u64) -> Option<Rc<Owner>> {
        if opener.pid == 0 {
            return None;
        }
        // Without a start in the record: the process that has the number now, unless it is younger.
        let is = |process: &&mut Process| match opener.start_ns {
            0 => process.start_ns <= boot_ns,
            start_ns => process.is(start_ns),
        };
        let process = self.by_pid.get_mut(&opener.pid).filter(is);
        // The thread's name; the process's own is not in the record if type information for its offset is missing.
        let thread = comm_bytes(&opener.comm);
        let comm = match (comm_bytes(&opener.process_comm), &process) {
            (&[], Some(process)) if opener.pid != opener.tid && !process.comm.is_empty() => process.comm.as_bytes(),
            (&[], _) => thread,
            (comm, _) => comm,
        };
        let uid = match opener.uid {
            UID_UNKNOWN => process.as_ref().and_then(|process| process.uid),
            uid => Some(uid),
        };
        if let Some(owner) = process.as_ref().and_then(|process| process.owner.as_ref())
            && owner.tid == opener.tid
            && owner.uid == uid
            && owner.real_uid == Some(opener.real_uid)
            && owner.comm.as_bytes() == comm
            && owner.thread.as_ref().map_or(comm, |thread| thread.as_bytes()) == thread
        {
            return Some(Rc::clone(owner));
        }
        let owner = Rc::new(Owner {
            pid: opener.pid,
            tid: opener.tid,
            uid,
            real_uid: Some(opener.real_uid),
            comm: String::from_utf8_lossy(comm).into_owned(),
            thread: (thread != comm).then(|| String::from_utf8_lossy(thread).into_owned()),
            start_ns: Some(opener.start_ns)
                .filter(|start| *start != 0)
                .or_else(|| process.as_ref().map(|process| process.start_ns)),
            facts: process.as_ref().map(|process| Arc::clone(&process.facts)).unwrap_or_default(),
            told: process.as_ref().map(|process| process.told.clone()).unwrap_or_default(),
        });
        if let Some(process) = process {
            process.owner = Some(Rc::clone(&owner));
        }
        Some(owner)
    }

    /// The owner that /proc names by pid alone.
    pub fn holder(&self, pid: u32) -> Option<Rc<Owner>> {
        let process = self.by_pid.get(&pid)?;
        Some(Rc::new(Owner {
            pid,
            tid: pid,
            uid: process.uid,
            real_uid: process.real_uid,
            comm: process.comm.clone(),
            thread: None,
            start_ns: Some(process.start_ns),
            facts: Arc::clone(&process.facts),
            told: process.told.clone(),
        }))
    }
}

/// Whether these can be the arguments of one program: the kernel's record has only their beginning.
fn same_arguments(record: &ProcessFacts, now: &ProcessFacts) -> bool {
    let (Some(known), Some(all)) = (&record.cmdline, &now.cmdline) else { return record.cmdline == now.cmdline };
    let Some((last, whole)) = known.split_last().filter(|_| record.cmdline_cut) else { return known == all };
    // The record may end within a character.
    let last = last.trim_end_matches('\u{fffd}');
    all.get(..whole.len()) == Some(whole) && all.get(whole.len()).is_some_and(|argument| argument.starts_with(last))
}

fn comm_bytes(comm: &[u8; 16]) -> &[u8] {
    let end = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
    &comm[..end]
}

fn comm(comm: &[u8; 16]) -> String {
    String::from_utf8_lossy(comm_bytes(comm)).into_owned()
}

fn arguments(bytes: &[u8]) -> Option<Vec<String>> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return None;
    }
    Some(bytes.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of an older connection names its opener, too, but does not cause a look at /proc.
    #[test]
    fn only_a_look_says_that_the_cgroup_is_known() {
        const START: u64 = 5 * TICK_NS;
        let mut table = ProcessTable::default();
        let in_cgroup = |cgroup: &str| ProcessSnapshot {
            pid: 5,
            start_ns: START,
            comm: "five".to_owned(),
            uid: None,
            real_uid: None,
            facts: ProcessFacts { cgroup: Some(cgroup.to_owned()), ..ProcessFacts::default() },
        };
        table.snapshot(in_cgroup("/before"));
        table.begin();
        let opener = Opener { pid: 5, tid: 5, start_ns: START, cgroup_id: 7, ..Opener::NOBODY };
        let cgroup = |table: &mut ProcessTable| table.owner(&opener, 1).and_then(|owner| owner.facts.cgroup.clone());
        assert_eq!(cgroup(&mut table).as_deref(), Some("/before"));
        assert!(table.lacks(&opener, 1), "an owner was made, and no look was taken");
        table.snapshot(in_cgroup("/after"));
        table.looked_at(&opener, 1);
        assert!(!table.lacks(&opener, 1));
        assert_eq!(cgroup(&mut table).as_deref(), Some("/after"));
        let moved = Opener { cgroup_id: 8, ..opener };
        assert!(table.lacks(&moved, 1), "the kernel says that it is in another one");
        let in_root = Opener { cgroup_id: ROOT_CGROUP, ..opener };
        table.looked_at(&in_root, 1);
        assert!(!table.lacks(&in_root, 1) && table.lacks(&in_root, 1 + LOOK_AGAIN_NS), "of version 1 no record tells");
    }
}
