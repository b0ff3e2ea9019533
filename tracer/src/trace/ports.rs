//! Finds the holder of a port that a bind() could not get: by a look at the socket tables of its namespace, and at the
//! holders of files. It runs in another thread, and rarely enough to be cheap: programs that retry share a look.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use log::debug;
use tokio::sync::oneshot;

use super::{Nowhere, namespaces::Namespaces};
use crate::{
    core::{
        Core, Gate, Input, ProcessSnapshot,
        ports::{AtPort, Port},
    },
    proc::{
        enter::{self, Prefer},
        fd::SocketHolders,
        netns::Netns,
        root::ProcRoot,
    },
    readers::Readers,
    snapshot,
    sockets::{diag::bound, proto::Proto},
    stream::Sink,
};

/// The pause between two looks, as a multiple of the last look's duration.
const SHARE: u32 = 20;
/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The result of one look.
#[derive(Debug, Default)]
pub struct Found {
    processes: Vec<ProcessSnapshot>,
    ports: Vec<AtPort>,
}

/// The looks.
#[derive(Debug, Default)]
pub struct Ports {
    looking: Option<(Instant, oneshot::Receiver<Found>)>,
    not_before: Option<Instant>,
}

impl Ports {
    /// Starts a look, if the core wants one and the last look is long enough ago.
    pub fn look<G: Gate>(&mut self, core: &mut Core<G>, root: &ProcRoot, readers: &Readers, namespaces: &Namespaces) {
        let now = Instant::now();
        if self.looking.is_some() || !core.waits_for_ports() || self.not_before.is_some_and(|instant| now < instant) {
            return;
        }
        let wanted = core.wanted_ports();
        if wanted.is_empty() {
            return;
        }
        let (send, receive) = oneshot::channel();
        let (root, readers) = (root.clone(), readers.clone());
        namespaces.give(move || {
            // The receiver is gone if the trace ended first.
            let _ = send.send(find(&root, &readers, &wanted));
        });
        self.looking = Some((now, receive));
    }

    /// Allows the next look to start at once.
    pub fn hurry(&mut self) {
        self.not_before = None;
    }

    /// Waits for the current look; forever if there is none. Cancel safe.
    pub async fn found(&mut self) -> Option<Found> {
        match &mut self.looking {
            Some((_, receive)) => receive.await.ok(),
            None => std::future::pending().await,
        }
    }

    /// Passes on the result of [`Ports::found`].
    pub fn tell<G: Gate>(&mut self, found: Option<Found>, core: &mut Core<G>, sink: &mut dyn Sink) {
        let Some((began, _)) = self.looking.take() else { return };
        let took = began.elapsed();
        self.not_before = Some(Instant::now() + (took * SHARE).min(LONGEST_PAUSE));
        let Found { processes, ports } = found.unwrap_or_default();
        debug!("looked for the holders of {} ports in {took:?}", ports.len());
        for process in processes {
            core.apply(Input::Process(process), &mut Nowhere);
        }
        core.apply(Input::Ports(ports), sink);
    }
}

fn find(root: &ProcRoot, readers: &Readers, wanted: &[Port]) -> Found {
    let mut by_netns: BTreeMap<u32, Vec<Port>> = BTreeMap::new();
    for port in wanted {
        by_netns.entry(port.netns).or_default().push(*port);
    }
    let mut ports: Vec<AtPort> = Vec::new();
    for (inode, wanted) in by_netns {
        let pid = wanted.iter().find_map(|port| port.pid);
        let netns = Netns { inode, name: None, pid, path: None };
        let read = enter::with(root, &netns, Prefer::Entering, |place| {
            wanted.iter().map(|port| sockets(*port, place.inside)).collect::<Vec<_>>()
        });
        match read {
            Ok(Some(found)) => ports.extend(found),
            // The namespace is gone, or may not be entered.
            Ok(None) => ports.extend(wanted.iter().map(|port| nothing(*port))),
            Err(error) => {
                debug!("{error}");
                ports.extend(wanted.iter().map(|port| nothing(*port)));
            }
        }
    }
    let inodes: HashSet<u64> = ports
        .iter()
        .flat_map(|port| &port.sockets)
        .map(|(socket, _)| socket.inode)
        .filter(|inode| *inode != 0)
        .collect();
    if inodes.is_empty() {
        return Found { processes: Vec::new(), ports };
    }
    let (holders, _) = SocketHolders::scan(root, Some(&inodes));
    let mut pids = HashSet::new();
    for (socket, of_socket) in ports.iter_mut().flat_map(|port| &mut port.sockets) {
        of_socket.extend(holders.holders(socket.inode));
        pids.extend(of_socket.first());
    }
    Found { processes: snapshot::of_processes(root, readers, pids), ports }
}

fn sockets(port: Port, inside: bool) -> AtPort {
    let proto = if port.udp { Proto::Udp } else { Proto::Tcp };
    let found = if inside { bound::at_port(proto, port.port) } else { Ok(Vec::new()) };
    let found = found.inspect_err(|error| debug!("cannot ask sock_diag: {error}")).unwrap_or_default();
    AtPort { number: port.number, sockets: found.into_iter().map(|socket| (socket, Vec::new())).collect() }
}

fn nothing(port: Port) -> AtPort {
    AtPort { number: port.number, sockets: Vec::new() }
}
