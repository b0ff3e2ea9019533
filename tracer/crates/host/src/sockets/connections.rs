//! TCP connections from the kernel's table, read by a BPF program ([`super::iterators`]).
//!
//! The program reports neither cookies nor figures, so sock_diag answers where these are wanted.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::by_namespace::ByNamespace;
use super::gathered::Gathered;
use super::iterators::{Chunk, Iterators, TableError, connection};
use super::order::Key;
use super::row::Row;
use super::shared::{self, Batch};
use crate::proc::net::{Malformed, sockstat};

/// Loading the program pays from this many TCP sockets on: sock_diag needs no loading.
pub(super) const MANY: u64 = 6_000;
/// How often a table that changes meanwhile is read.
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
    iterators: &'a dyn Iterators,
    key: Option<Key>,
    walks: Mutex<Walks>,
}

/// The tables read so far.
#[derive(Debug, Default)]
struct Walks {
    done: Vec<Walk>,
    /// Whether a table cannot be read, or changes too fast.
    failed: bool,
}

/// The rows of a table that no namespace has taken yet.
#[derive(Debug)]
struct Walk {
    /// The namespace of the thread that read it.
    by: u32,
    /// Whether it is the table that most namespaces share.
    is_common: bool,
    rows: ByNamespace,
}

impl Walk {
    /// Whether it has all connections of a namespace.
    fn tells_of(&self, netns: u32, shares: bool) -> bool {
        self.by == netns || self.is_common && (shares || self.rows.has(netns))
    }
}

impl<'a> Connections<'a> {
    /// Prepares for reading; the rows of each namespace will be in the order of `key`.
    pub(super) fn new(iterators: &'a dyn Iterators, key: Option<Key>) -> Self {
        Self { iterators, key, walks: Mutex::default() }
    }

    /// Returns the connections of this thread's namespace, `netns`; `None` if the table is unreadable or unreliable.
    /// `count`: about how many the host has. Each namespace may be requested once.
    pub(super) fn of(&self, netns: u32, count: u64) -> Option<Gathered> {
        // A thread that waits here while a table is read most likely needs that table.
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
        // An empty table does not show whose it is.
        let is_common = shares || !is_alone && rows.len() > 0;
        let own = rows.take(netns);
        walks.done.push(Walk { by: netns, is_common, rows });
        Some(own)
    }

    /// Reads the table of this thread's namespace; `true`: no other namespace shares the table.
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
                // `count` leaves out the TIME_WAIT sockets of other namespaces.
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
}

/// Whether this thread's namespace keeps its connections in the table of the initial one
/// (`proc_tcp_ehash_entries`, net/ipv4/sysctl_net_ipv4.c, from 6.1: the number is negative then). `false` in the
/// initial namespace itself.
fn shares_table() -> bool {
    // The opener's namespace decides the content, so no folder of a process has this file.
    let read = fs::read_to_string("/proc/sys/net/ipv4/tcp_ehash_entries");
    read.is_ok_and(|text| text.starts_with('-'))
}

/// Returns about how many TCP sockets the host has. `net`: the folder of a namespace; TIME_WAIT is counted for that
/// namespace alone.
pub(super) fn count(net: &Path) -> u64 {
    let path = net.join("sockstat");
    let read = File::open(&path)
        .and_then(|file| sockstat::read(BufReader::new(file), &path, &mut Malformed::default()))
        .unwrap_or_default();
    ["alloc", "tw"].into_iter().filter_map(|key| sockstat::find(&read, "TCP", key)).sum()
}
