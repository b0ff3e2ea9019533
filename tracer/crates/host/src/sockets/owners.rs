//! The owners of sockets.

use std::collections::HashMap;
use std::sync::Arc;

use super::proto::{Proto, State};
use super::row::Row;
use crate::proc::fd::SocketHolders;
use crate::proc::fd_scan::{HolderProcess, Scan};
use crate::proc::process::{self, Begun};
use crate::proc::root::ProcRoot;
use tracer_stream::{Owner, OwnerSource, Told};

/// The holders of all sockets, with their identities.
#[derive(Debug, Default)]
pub struct Owners {
    holders: SocketHolders,
    /// By id.
    processes: Vec<Owner>,
    /// Inodes of listeners, by namespace, port and address.
    listeners: HashMap<Place, u64>,
}

/// Where a listener listens: namespace, port, family, address.
type Place = (u32, u16, u8, [u32; 4]);

/// The owner of one socket.
#[derive(Clone, Copy, Debug)]
pub struct Ownership<'a> {
    /// All processes that hold it, oldest first; for a connection that waits for accept(), its listener's.
    pub pids: &'a [u32],
    /// The source of that.
    pub source: OwnerSource,
}

impl Owners {
    /// Looks up the processes in `scan`: names only, or all their facts if `facts`.
    #[must_use]
    pub fn new(root: &ProcRoot, scan: Scan, rows: &[Row], facts: bool) -> Self {
        let mut processes: Vec<Owner> = scan
            .processes
            .into_iter()
            .map(|process| if facts { known(root, process) } else { named(process) })
            .collect();
        processes.sort_unstable_by_key(|process| process.pid);
        let mut listeners = HashMap::new();
        for row in rows.iter().filter(|row| row.proto == Proto::Tcp && row.state == State::Listen) {
            let Some(inet) = row.inet() else { continue };
            // Several listeners on one port (SO_REUSEPORT): a connection's owner is open, unless the
            // same processes hold all of them.
            let place = (row.netns, inet.lport, inet.family, inet.laddr);
            let inode = listeners.entry(place).or_insert(row.inode);
            if *inode != row.inode && scan.holders.holders(*inode) != scan.holders.holders(row.inode) {
                *inode = 0;
            }
        }
        Self { holders: scan.holders, processes, listeners }
    }

    /// Returns the owner of `row`.
    #[must_use]
    pub fn of(&self, row: &Row) -> Ownership<'_> {
        let unknown = Ownership { pids: &[], source: OwnerSource::Unknown };
        if row.inode != 0 {
            let pids = self.holders.holders(row.inode);
            return if pids.is_empty() { unknown } else { Ownership { pids, source: OwnerSource::Fd } };
        }
        if row.waits_for_accept()
            && let Some(inode) = self.listener(row)
        {
            let pids = self.holders.holders(inode);
            if !pids.is_empty() {
                return Ownership { pids, source: OwnerSource::Listener };
            }
        }
        unknown
    }

    /// Returns a process that holds a socket.
    #[must_use]
    pub fn process(&self, pid: u32) -> Option<&Owner> {
        let at = self.processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
        self.processes.get(at)
    }

    /// Returns the inode of the listener that a connection came in by.
    fn listener(&self, row: &Row) -> Option<u64> {
        let inet = row.inet()?;
        let at = |family, laddr| self.listeners.get(&(row.netns, inet.lport, family, laddr)).copied();
        at(inet.family, inet.laddr).or_else(|| at(inet.family, [0; 4])).filter(|inode| *inode != 0)
    }
}

fn named(process: HolderProcess) -> Owner {
    Owner {
        pid: process.pid,
        tid: process.pid,
        uid: None,
        real_uid: None,
        start_ns: Some(process::start_ns(process.start_ticks)),
        comm: process.comm,
        thread: None,
        facts: Arc::default(),
        told: Told::default(),
    }
}

fn known(root: &ProcRoot, process: HolderProcess) -> Owner {
    // Arguments are not shown, and reading them may take for ever.
    match Begun::read(root, process.pid).and_then(Begun::without_arguments) {
        // The id may belong to another process by now.
        Some((identity, facts)) if identity.start_ticks == process.start_ticks => Owner {
            pid: process.pid,
            tid: process.pid,
            uid: identity.uid,
            real_uid: identity.real_uid,
            start_ns: Some(identity.start_ns),
            comm: identity.comm,
            thread: None,
            facts: Arc::new(facts),
            told: Told::default(),
        },
        _ => named(process),
    }
}
