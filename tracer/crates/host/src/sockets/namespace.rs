//! The tables of one network namespace, each from the best source here.

use std::collections::HashSet;
use std::path::Path;

use super::connections::{self, Connections};
use super::diag::{Diag, DiagError, Dumped};
use super::gathered::Gathered;
use super::picture::sentence;
use super::proto::Proto;
use super::row::Row;
use super::source::{Ask, Via};
use super::table;
use crate::netlink;
use crate::proc::enter::Place;
use crate::proc::net::Malformed;
use crate::proc::root::ReadError;

/// The tables of one namespace.
#[derive(Debug)]
pub(super) struct Part {
    /// The sockets.
    pub(super) rows: Vec<Row>,
    /// Their places in `rows`, in the requested order.
    pub(super) places: Vec<u32>,
    /// Lines of /proc that no parser understood.
    pub(super) malformed: Malformed,
    /// Names of the devices that sockets are bound to.
    pub(super) devices: Vec<(u32, String)>,
    /// A sentence for each thing that is missing.
    pub(super) gaps: Vec<String>,
    /// The sources in use.
    pub(super) ways: Vec<&'static str>,
}

impl Part {
    /// Reads the tables, inside the namespace or from /proc.
    pub(super) fn read(ask: &Ask, connections: Option<&Connections<'_>>, netns: u32, place: &Place) -> Self {
        let mut reader = Reader::new(ask, connections, netns);
        reader.read(place);
        let (rows, places) = reader.rows.in_order();
        let devices = devices(&rows, place);
        Self { rows, places, devices, malformed: reader.malformed, gaps: reader.gaps, ways: reader.ways }
    }
}

/// Returns the devices that any of `rows` is bound to; empty if the kernel does not give their names.
fn devices(rows: &[Row], place: &Place) -> Vec<(u32, String)> {
    let bound: HashSet<u32> = rows.iter().map(Row::device).filter(|index| *index != 0).collect();
    if bound.is_empty() || !place.inside {
        return Vec::new();
    }
    match netlink::links() {
        Ok(links) => {
            links.rows.into_iter().filter(|link| bound.contains(&link.ifindex)).map(|l| (l.ifindex, l.name)).collect()
        }
        Err(error) => {
            log::debug!("the names of devices: {error}");
            Vec::new()
        }
    }
}

/// Reads one table after another.
struct Reader<'a> {
    ask: &'a Ask,
    connections: Option<&'a Connections<'a>>,
    netns: u32,
    rows: Gathered,
    malformed: Malformed,
    gaps: Vec<String>,
    ways: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    fn new(ask: &'a Ask, connections: Option<&'a Connections<'a>>, netns: u32) -> Self {
        Self {
            ask,
            connections,
            netns,
            rows: Gathered::new(ask.order),
            malformed: Malformed::default(),
            gaps: Vec::new(),
            ways: Vec::new(),
        }
    }

    fn read(&mut self, place: &Place) {
        let mut diag = if self.ask.via == Via::Proc || !place.inside { None } else { Diag::open().ok() };
        for proto in Proto::ALL.into_iter().filter(|proto| self.ask.protos.has(*proto)) {
            let done = place.inside && proto == Proto::Tcp && self.by_iterator(diag.as_mut(), place)
                || diag.as_mut().is_some_and(|diag| self.by_diag(diag, proto));
            if !done {
                self.by_proc(&place.net, proto);
            }
        }
    }

    /// Reads TCP sockets by BPF, if there are many or the user asks for it.
    fn by_iterator(&mut self, diag: Option<&mut Diag>, place: &Place) -> bool {
        let Some(connections) = self.connections else { return false };
        let count = connections::count(&place.net);
        if self.ask.via != Via::Bpf && (self.ask.details || count < connections::MANY) {
            return false;
        }
        diag.is_some_and(|diag| self.by_table(connections, count, diag))
    }

    /// Reads the kernel's table of connections, and listeners by sock_diag; `false`: the read is incomplete.
    fn by_table(&mut self, connections: &Connections<'_>, count: u64, diag: &mut Diag) -> bool {
        let Some(rows) = connections.of(self.netns, count) else { return false };
        let before = self.rows.len();
        self.rows.append(rows);
        let listeners = diag.listeners(self.netns, &mut self.rows);
        let done = self.take(listeners, Proto::Tcp);
        if done {
            self.ways.push("connections by BPF");
        } else {
            self.rows.truncate(before);
        }
        done
    }

    fn by_diag(&mut self, diag: &mut Diag, proto: Proto) -> bool {
        let before = self.rows.len();
        let dumped = diag.dump(proto, self.ask, self.netns, &mut self.rows);
        let done = self.take(dumped, proto);
        if !done {
            self.rows.truncate(before);
        }
        done
    }

    /// Notes the result of a dump; `false` if it failed.
    fn take(&mut self, dumped: Result<Dumped, DiagError>, proto: Proto) -> bool {
        let name = proto.name();
        match dumped {
            Ok(dumped) => {
                if dumped.malformed > 0 {
                    let count = dumped.malformed;
                    self.gaps.push(format!("{count} sock_diag messages on {name} sockets were cut short"));
                }
                if dumped.changed {
                    self.gaps.push(format!("the {name} sockets changed while they were read, and may not be complete"));
                }
                self.ways.push("tables by sock_diag");
                true
            }
            Err(error) => {
                if let DiagError::Io(_) = &error {
                    log::debug!("{name}: {}", sentence(&error));
                }
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
