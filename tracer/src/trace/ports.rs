//! Finds the holder of a port that a bind() could not get: by a look at the socket tables of its namespace, and at the
//! holders of files. Looks are rare enough to be cheap: programs that retry share one.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use log::debug;

use crate::{
    core::{
        ports::{AtPort, Port},
        question::Answer,
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
};

/// The pause between two looks, as a multiple of the last look's duration.
const SHARE: u32 = 20;
/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The pause after a look that took this long.
pub fn pause(took: Duration) -> Duration {
    (took * SHARE).min(LONGEST_PAUSE)
}

/// One look.
pub fn find(root: &ProcRoot, readers: &Readers, wanted: &[Port]) -> Answer {
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
        return Answer::Ports { processes: Vec::new(), ports };
    }
    let (holders, _) = SocketHolders::scan(root, Some(&inodes));
    let mut pids = HashSet::new();
    for (socket, of_socket) in ports.iter_mut().flat_map(|port| &mut port.sockets) {
        of_socket.extend(holders.holders(socket.inode));
        pids.extend(of_socket.first());
    }
    Answer::Ports { processes: snapshot::of_processes(root, readers, pids), ports }
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
