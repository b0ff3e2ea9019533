//! Takes the picture of all sockets of the host.

use std::mem;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::connections::Connections;
use super::iterators::Iterators;
use super::namespace::Part;
use super::order;
use super::owners::Owners;
pub use super::picture::Picture;
use super::picture::sentence;
use super::source::{Ask, Via};
use crate::proc::enter::{self, Place, Prefer};
use crate::proc::fd_scan::{self, Scan};
use crate::proc::netns::{self, Found, Netns, NetnsError};
use crate::proc::root::ProcRoot;

/// The most threads that read the holders: more of them only get in each other's way.
const WORKERS: usize = 8;

/// Takes the picture; `iterators` are loaded if `ask` lets them be.
///
/// # Errors
/// If the source that the user forces does not work, in one sentence.
pub fn collect(root: &ProcRoot, ask: &Ask, iterators: &dyn Iterators) -> Result<Picture, String> {
    let workers = thread::available_parallelism().map_or(2, usize::from).clamp(2, WORKERS);
    let mut picture = Picture { own_netns: netns::current(root), ..Picture::default() };
    let iterators = match ask.via {
        Via::Auto => Some(iterators),
        Via::Bpf => {
            iterators.load_holders().map_err(|why| format!("no BPF iterators: {why}"))?;
            Some(iterators)
        }
        Via::Netlink | Via::Proc => None,
    };
    let mut parts = Vec::new();
    // Everything is read at once: a socket that opens or closes between the holders and the tables has no
    // holder or is not in the table, in any order of reading.
    let connections = iterators.map(|iterators| Connections::new(iterators, ask.order));
    let tables = Tables { root, ask, connections: connections.as_ref(), own: picture.own_netns };
    let (scan, way) = thread::scope(|scope| {
        let others = scope.spawn(|| tables.others(workers));
        let holders = scope.spawn(|| holders(root, iterators, workers));
        if let Some(inode) = picture.own_netns {
            // The own namespace needs no search.
            parts.extend(picture.add(tables.of(Netns { inode, name: None, pid: None, path: None })));
        }
        parts.extend(picture.add_others(others.join()?));
        holders.join()
    })
    .map_err(|_| "a thread that reads /proc ended in a panic; please report it".to_owned())?;
    picture.ways.sort_unstable();
    picture.ways.dedup();
    picture.ways.push(way);
    picture.denied = scan.report.denied;
    picture.gaps.extend(scan.report.errors.iter().map(|error| sentence(error)));
    picture.owners = Owners::new(root, scan, &picture.rows, ask.facts);
    if let Some(key) = ask.order {
        let mut places = order::by_namespace(&picture, parts);
        order::by_owner(&picture, &mut places, key);
        picture.order = places;
    }
    Ok(picture)
}

/// Returns the holders of sockets, and the source.
fn holders(root: &ProcRoot, iterators: Option<&dyn Iterators>, workers: usize) -> (Scan, &'static str) {
    let is_loaded = |iterators: &&dyn Iterators| match iterators.load_holders() {
        Ok(()) => true,
        Err(why) => {
            log::debug!("no BPF iterators: {why}");
            false
        }
    };
    if let Some(iterators) = iterators.filter(is_loaded) {
        match iterators.holders() {
            Ok((pairs, way)) => return (fd_scan::of_pairs(root, &pairs), way),
            Err(error) => log::warn!("{error}: reading /proc/PID/fd instead"),
        }
    }
    (fd_scan::scan(root, workers), "holders by /proc/PID/fd")
}

/// Reads the tables of namespaces.
struct Tables<'a> {
    root: &'a ProcRoot,
    ask: &'a Ask,
    connections: Option<&'a Connections<'a>>,
    own: Option<u32>,
}

/// A namespace and its tables; `None` if it is gone.
type Read = (Netns, Result<Option<Part>, NetnsError>);
/// A namespace and the places of its rows, in order.
type InOrder = (u32, Vec<u32>);

/// The tables of all namespaces but the own one.
struct Others {
    found: Found,
    /// In the order of `found`, whose namespaces move here.
    read: Vec<Read>,
}

impl Tables<'_> {
    fn of(&self, netns: Netns) -> Read {
        let prefer = if self.ask.via == Via::Proc { Prefer::Files } else { Prefer::Entering };
        let work = |place: &Place| Part::read(self.ask, self.connections, netns.inode, place);
        let read = enter::with(self.root, &netns, prefer, work);
        (netns, read)
    }

    /// Reads all namespaces but the own one with up to `workers` threads: for each namespace the kernel
    /// walks through the sockets of all of them.
    fn others(&self, workers: usize) -> Others {
        let mut found = netns::find(self.root);
        let (own, others): (Vec<_>, Vec<_>) =
            mem::take(&mut found.namespaces).into_iter().partition(|netns| Some(netns.inode) == self.own);
        found.namespaces = own;
        let next = AtomicUsize::new(0);
        let work = || {
            let mut read = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(netns) = others.get(place) else { return read };
                read.push((place, self.of(netns.clone())));
            }
        };
        let mut read: Vec<(usize, Read)> = thread::scope(|scope| {
            // A thread that does not start only costs time.
            let threads: Vec<_> = (1..workers.min(others.len()))
                .filter_map(|_| thread::Builder::new().name("sockets".into()).spawn_scoped(scope, work).ok())
                .collect();
            let own = work();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .chain(own)
                .collect()
        });
        read.sort_unstable_by_key(|(place, _)| *place);
        Others { found, read: read.into_iter().map(|(_, read)| read).collect() }
    }
}

impl Picture {
    fn add_others(&mut self, others: Others) -> Vec<InOrder> {
        self.denied_netns = others.found.denied;
        if others.found.unread_threads > 0 {
            let count = others.found.unread_threads;
            self.gaps.push(format!("{count} threads were not read: a network namespace of theirs may be missing"));
        }
        self.gaps.extend(others.found.errors.iter().map(|error| sentence(error)));
        // The own namespace has been read already and gets its name here.
        self.namespaces.extend(others.found.namespaces.into_iter().map(|netns| (netns.inode, netns)));
        others.read.into_iter().filter_map(|read| self.add(read)).collect()
    }

    /// Adds the rows of a namespace and returns their new places.
    fn add(&mut self, (netns, read): Read) -> Option<InOrder> {
        let (label, inode) = (label(&netns), netns.inode);
        self.namespaces.insert(netns.inode, netns);
        let mut part = match read {
            Ok(Some(part)) => part,
            Ok(None) => return None,
            Err(error) => {
                self.gaps.push(format!("network namespace {label}: {}", sentence(&error)));
                return None;
            }
        };
        if self.rows.is_empty() {
            self.rows = part.rows;
        } else {
            let before = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
            part.places.iter_mut().for_each(|at| *at += before);
            self.rows.append(&mut part.rows);
        }
        self.gaps.append(&mut part.gaps);
        self.devices.extend(part.devices.into_iter().map(|(index, name)| ((inode, index), name)));
        self.malformed.count += part.malformed.count;
        self.malformed.places.append(&mut part.malformed.places);
        self.ways.extend(part.ways);
        Some((inode, part.places))
    }
}

/// Returns a namespace's name for messages.
fn label(netns: &Netns) -> String {
    netns.name.clone().unwrap_or_else(|| netns.inode.to_string())
}
