//! Takes the picture of all sockets of the host.

use std::collections::HashMap;
use std::path::Path;
use std::thread;

use super::diag::{Diag, DiagError};
use super::owners::Owners;
use super::proto::{Proto, State};
use super::row::Row;
use super::source::{Ask, Via};
use super::table;
use crate::kernel::iterators::Iterators;
use crate::proc::enter::{self, Place, Prefer};
use crate::proc::fd_scan::{self, Scan};
use crate::proc::net::Malformed;
use crate::proc::netns::{self, Netns};
use crate::proc::root::{ProcRoot, ReadError};

/// Threads that read the holders at the most: more only get into each other's way.
const WORKERS: usize = 8;

/// What exists now.
#[derive(Debug, Default)]
pub struct Picture {
    /// The sockets, in the order of the kernel's tables.
    pub rows: Vec<Row>,
    /// Who holds them.
    pub owners: Owners,
    /// The namespaces that were found, by inode number.
    pub namespaces: HashMap<u32, Netns>,
    /// The namespace of this process.
    pub own_netns: Option<u32>,
    /// Processes whose descriptors this user may not see.
    pub denied: u32,
    /// Processes whose namespace this user may not know.
    pub denied_netns: u32,
    /// Lines of /proc that were no rows.
    pub malformed: Malformed,
    /// What could not be had, one sentence each.
    pub gaps: Vec<String>,
    /// The ways that were used, for `-v`.
    pub ways: Vec<&'static str>,
}

/// Takes the picture.
///
/// # Errors
/// If a way that was asked for by name is not to be had, in one sentence.
pub fn collect(root: &ProcRoot, ask: &Ask) -> Result<Picture, String> {
    let workers = thread::available_parallelism().map_or(2, usize::from).clamp(2, WORKERS);
    let mut picture = Picture { own_netns: netns::current(root), ..Picture::default() };
    let iterators = match ask.via {
        Via::Auto | Via::Bpf => match Iterators::load() {
            Ok(iterators) => Some(iterators),
            Err(why) if ask.via == Via::Bpf => return Err(format!("no BPF iterators: {why}")),
            Err(why) => {
                log::debug!("no BPF iterators: {why}");
                None
            }
        },
        Via::Netlink | Via::Proc => None,
    };
    let scan = thread::scope(|scope| {
        // The holders are read beside the tables: what is opened or closed between the two has no
        // holder or is not in the table, as it would be in any order.
        let holders = scope.spawn(|| holders(root, iterators.as_ref(), workers));
        tables(root, ask, iterators.as_ref(), &mut picture);
        holders.join()
    });
    let scan = scan.map_err(|_| "a thread that reads /proc ended in a panic; please report it".to_owned())?;
    picture.ways.push(if iterators.is_some() { "holders by iter/task_file" } else { "holders by /proc/PID/fd" });
    picture.denied = scan.report.denied;
    picture.gaps.extend(scan.report.errors.iter().map(|error| sentence(error)));
    picture.owners = Owners::new(root, scan, &picture.rows, ask.facts);
    Ok(picture)
}

fn holders(root: &ProcRoot, iterators: Option<&Iterators>, workers: usize) -> Scan {
    if let Some(iterators) = iterators {
        match iterators.holders() {
            Ok(pairs) => return fd_scan::of_pairs(root, &pairs),
            Err(error) => log::warn!("iter/task_file failed ({error}): reading /proc/PID/fd instead"),
        }
    }
    fd_scan::scan(root, workers)
}

fn tables(root: &ProcRoot, ask: &Ask, iterators: Option<&Iterators>, picture: &mut Picture) {
    let found = netns::find(root);
    picture.denied_netns = found.denied;
    picture.gaps.extend(found.errors.iter().map(|error| sentence(error)));
    let prefer = if ask.via == Via::Proc { Prefer::Files } else { Prefer::Entering };
    for netns in found.namespaces {
        let work = |place: &Place| {
            let mut part = Part::new(ask, iterators, netns.inode);
            part.read(place);
            part
        };
        let read = enter::with(root, &netns, prefer, work);
        let label = label(&netns);
        picture.namespaces.insert(netns.inode, netns);
        let mut part = match read {
            Ok(Some(part)) => part,
            Ok(None) => continue,
            Err(error) => {
                picture.gaps.push(format!("network namespace {label}: {}", sentence(&error)));
                continue;
            }
        };
        if picture.rows.is_empty() {
            picture.rows = part.rows;
        } else {
            picture.rows.append(&mut part.rows);
        }
        picture.gaps.append(&mut part.gaps);
        picture.malformed.count += part.malformed.count;
        picture.malformed.places.append(&mut part.malformed.places);
        picture.ways.extend(part.ways);
    }
    picture.ways.sort_unstable();
    picture.ways.dedup();
}

/// How a namespace is called for people.
fn label(netns: &Netns) -> String {
    netns.name.clone().unwrap_or_else(|| netns.inode.to_string())
}

fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// What is read of one namespace.
struct Part<'a> {
    ask: &'a Ask,
    iterators: Option<&'a Iterators>,
    netns: u32,
    rows: Vec<Row>,
    malformed: Malformed,
    gaps: Vec<String>,
    ways: Vec<&'static str>,
}

impl<'a> Part<'a> {
    fn new(ask: &'a Ask, iterators: Option<&'a Iterators>, netns: u32) -> Self {
        Self {
            ask,
            iterators,
            netns,
            rows: Vec::new(),
            malformed: Malformed::default(),
            gaps: Vec::new(),
            ways: Vec::new(),
        }
    }

    fn read(&mut self, place: &Place) {
        let mut diag = if self.ask.via == Via::Proc || !place.inside { None } else { Diag::open().ok() };
        for proto in Proto::ALL.into_iter().filter(|proto| self.ask.protos.has(*proto)) {
            let done =
                place.inside && self.by_iterator(proto) || diag.as_mut().is_some_and(|diag| self.by_diag(diag, proto));
            if !done {
                self.by_proc(&place.net, proto);
            }
        }
    }

    fn by_iterator(&mut self, proto: Proto) -> bool {
        // The figures of a TCP connection are sock_diag's to tell.
        let wanted = !self.ask.details || self.ask.via == Via::Bpf;
        let Some(iterators) = self.iterators.filter(|_| wanted) else { return false };
        let before = self.rows.len();
        match iterators.table(proto, self.netns, &mut self.rows) {
            Ok(true) => {
                self.ways.push("tables by BPF iterators");
                true
            }
            Ok(false) => false,
            Err(error) => {
                log::debug!("iterator over {} sockets: {error}", proto.name());
                self.rows.truncate(before);
                false
            }
        }
    }

    fn by_diag(&mut self, diag: &mut Diag, proto: Proto) -> bool {
        let before = self.rows.len();
        match diag.dump(proto, self.ask.details, self.netns, |row| self.rows.push(row)) {
            Ok(dumped) => {
                if dumped.malformed > 0 {
                    let count = dumped.malformed;
                    self.gaps.push(format!("{count} sock_diag messages on {} sockets were cut short", proto.name()));
                }
                if dumped.changed {
                    let name = proto.name();
                    self.gaps.push(format!("the {name} sockets changed while they were read, and may not be complete"));
                }
                self.ways.push("tables by sock_diag");
                true
            }
            Err(error) => {
                if let DiagError::Io(_) = &error {
                    log::debug!("{}: {}", proto.name(), sentence(&error));
                }
                self.rows.truncate(before);
                false
            }
        }
    }

    fn by_proc(&mut self, net: &Path, proto: Proto) {
        let read: Result<(), ReadError> =
            table::read(net, self.netns, proto, &mut self.malformed, |row| self.rows.push(row));
        self.ways.push("tables by /proc/net");
        if let Err(error) = read {
            self.gaps.push(sentence(&error));
        }
    }
}

/// A socket that has no file because nobody has accepted it yet, or because its handshake is not
/// done: a process that closes a socket takes it out of these states.
#[must_use]
pub const fn waits_for_accept(row: &Row) -> bool {
    matches!((row.proto, row.inode), (Proto::Tcp, 0))
        && matches!(row.state, State::Established | State::SynRecv | State::CloseWait)
}
