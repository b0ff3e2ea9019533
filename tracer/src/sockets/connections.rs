//! TCP connections as the kernel's table has them, read by a program (`kernel::iterators::connections`).
//!
//! It tells neither cookies nor figures, so that sock_diag is asked where these are wanted.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::by_namespace::ByNamespace;
use super::gathered::Gathered;
use super::order::Key;
use super::row::Row;
use super::shared::{self, Batch};
use crate::kernel::iterators::connections::{Chunk, connection};
use crate::kernel::iterators::{Iterators, TableError};
use crate::proc::net::{Malformed, sockstat};

/// TCP sockets on the host from which on it is worth while to load the program: sock_diag begins at once.
pub(super) const MANY: u64 = 6_000;
/// How often the table is read where it changes meanwhile.
const ATTEMPTS: usize = 2;

impl Batch for Chunk {
    fn new() -> Self {
        Self::new()
    }

    fn each(&self, mut record: impl FnMut(&[u8])) {
        self.records().for_each(|bytes| record(bytes));
    }
}

/// The connections of all namespaces. Most have one table in common, which is read once.
#[derive(Debug)]
pub(super) struct Connections<'a> {
    iterators: &'a Iterators,
    key: Option<Key>,
    walks: Mutex<Walks>,
}

/// The tables that were read.
#[derive(Debug, Default)]
struct Walks {
    done: Vec<Walk>,
    /// They cannot be read, or change too fast.
    failed: bool,
}

/// A table, what is left of it to be taken.
#[derive(Debug)]
struct Walk {
    /// The namespace of the thread that read it.
    by: u32,
    /// It is the one that most namespaces have in common.
    is_common: bool,
    rows: ByNamespace,
}

impl Walk {
    /// Whether all connections of a namespace are in it.
    fn tells_of(&self, netns: u32, shares: bool) -> bool {
        self.by == netns || self.is_common && (shares || self.rows.has(netns))
    }
}

impl<'a> Connections<'a> {
    /// None is read yet; each namespace's are to be put in the order of `key`.
    pub(super) fn new(iterators: &'a Iterators, key: Option<Key>) -> Self {
        Self { iterators, key, walks: Mutex::default() }
    }

    /// Those of the namespace that this thread is in, `netns`; `None` if that cannot be told, or not for certain. `count`:
    /// about how many there are on the host. Each namespace is asked for once.
    pub(super) fn of(&self, netns: u32, count: u64) -> Option<Gathered> {
        // Whoever comes while a table is read most likely wants what is in it.
        let mut walks = self.walks.lock().unwrap_or_else(PoisonError::into_inner);
        if walks.failed {
            return None;
        }
        let shares = shares_table();
        if let Some(walk) = walks.done.iter_mut().find(|walk| walk.tells_of(netns, shares)) {
            return Some(walk.rows.take(netns));
        }
        let Some((mut rows, is_alone)) = self.walk(netns, count) else {
            walks.failed = true;
            return None;
        };
        // Of an empty table it is not known whose it is.
        let is_common = shares || !is_alone && rows.len() > 0;
        let own = rows.take(netns);
        walks.done.push(Walk { by: netns, is_common, rows });
        Some(own)
    }

    /// Reads the table of the namespace that this thread is in; `true`: it is that namespace's alone.
    fn walk(&self, netns: u32, count: u64) -> Option<(ByNamespace, bool)> {
        let mut count = Some(count);
        for _ in 0..ATTEMPTS {
            let is_alone = AtomicBool::new(false);
            let parse = |record: &[u8]| -> Option<Row> {
                let (row, of_one) = record.as_array().and_then(connection)?;
                if of_one {
                    is_alone.store(true, Ordering::Relaxed);
                }
                Some(row)
            };
            match shared::read(netns, self.key, parse, |each| self.iterators.connections(count, each)) {
                Ok((read, ())) if read.malformed == 0 => return Some((read.rows, is_alone.into_inner())),
                Ok(_) => log::debug!("the table of connections changed while it was read"),
                // What waits in TIME_WAIT in other namespaces was not counted.
                Err(why @ TableError::TooSmall) if count.is_some() => {
                    log::debug!("{why}");
                    count = None;
                }
                Err(why) => {
                    log::debug!("connections: {why}");
                    return None;
                }
            }
        }
        None
    }

    /// The iterators.
    pub(super) const fn iterators(&self) -> &'a Iterators {
        self.iterators
    }
}

/// Whether the namespace that this thread is in has its connections in the initial one's table
/// (`proc_tcp_ehash_entries`, net/ipv4/sysctl_net_ipv4.c, from 6.1: their number is negative then). Of the initial one
/// itself this says `false`.
fn shares_table() -> bool {
    // Which namespace's it is depends on who opens it, so it is in no folder of a process.
    let read = fs::read_to_string("/proc/sys/net/ipv4/tcp_ehash_entries");
    read.is_ok_and(|text| text.starts_with('-'))
}

/// TCP sockets on the host, about; `net`: the folder of a namespace, of which alone it is known how many wait in
/// TIME_WAIT.
pub(super) fn count(net: &Path) -> u64 {
    let path = net.join("sockstat");
    let read = File::open(&path)
        .and_then(|file| sockstat::read(BufReader::new(file), &path, &mut Malformed::default()))
        .unwrap_or_default();
    ["alloc", "tw"].into_iter().filter_map(|key| sockstat::find(&read, "TCP", key)).sum()
}
