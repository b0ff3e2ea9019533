//! TCP sockets by process and state, and the local ports that connections take.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use super::port_use::PortUse;
use crate::proc::fd::SocketHolders;
use crate::proc::net::tcp::Row;
use crate::proc::process;
use crate::proc::root::ProcRoot;
use tracer_stream::{TcpState, address};

/// The number of states, with room for number 0, which no state has.
pub const STATES: usize = 14;

/// The sockets of a namespace.
#[derive(Debug, Default)]
pub struct Sockets {
    /// How many, by the state's number.
    pub states: [u64; STATES],
    /// By owner, most sockets first.
    pub owners: Vec<Owned>,
    /// Processes that this user may not look into.
    pub denied: u32,
    /// Connections by destination, most ports first.
    pub destinations: Vec<Destination>,
    /// The local ports of connections to all destinations.
    pub port_use: PortUse,
    /// Connections that wait for each listener, by inode (from the file, where sock_diag gives none).
    pub waiting: Vec<(u64, IpAddr, u16, u32)>,
    /// The known owners of listeners, by inode.
    pub listeners: HashMap<u64, Owner>,
    rows: Vec<(u64, u8)>,
    ports: Vec<Port>,
    listening: HashSet<u16>,
}

/// One owner's sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The owner.
    pub owner: Owner,
    /// How many, by the state's number.
    pub states: [u64; STATES],
}

impl Owned {
    /// Returns how many there are in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.states.iter().sum()
    }

    /// Returns how many are in `state`.
    #[must_use]
    pub fn in_state(&self, state: TcpState) -> u64 {
        in_state(&self.states, state)
    }
}

/// Returns how many of `states` are in `state`.
#[must_use]
pub fn in_state(states: &[u64; STATES], state: TcpState) -> u64 {
    states.get(state as usize).copied().unwrap_or(0)
}

/// The owner of a socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The process that has held it longest. `comm` is hostile.
    Process {
        /// Process id.
        pid: u32,
        /// Its name; empty if it ended meanwhile.
        comm: String,
    },
    /// No process: `TIME_WAIT`, handshakes, not accepted yet, closed by its process.
    Kernel,
    /// A process that this user may not look into, or that came or went meanwhile.
    Unknown,
}

impl Owner {
    /// Returns the process, if the owner is one.
    #[must_use]
    pub const fn pid(&self) -> Option<u32> {
        match self {
            Self::Process { pid, .. } => Some(*pid),
            Self::Kernel | Self::Unknown => None,
        }
    }
}

/// Connections from local ports that connect() chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Local address: each has its own ports.
    pub laddr: IpAddr,
    /// Remote address.
    pub raddr: IpAddr,
    /// Remote port.
    pub rport: u16,
    /// The number of local ports that they take.
    pub ports: u32,
}

#[derive(Clone, Copy, Debug)]
struct Port {
    row: [[u32; 4]; 2],
    family: u8,
    lport: u16,
    rport: u16,
}

impl Sockets {
    /// Adds a row. `range`: the ports that connect() chooses from.
    pub fn add(&mut self, row: &Row, range: Option<(u16, u16)>) {
        if let Some(count) = self.states.get_mut(usize::from(row.state)) {
            *count += 1;
        }
        self.rows.push((row.inode, row.state));
        if row.tcp_state() == Some(TcpState::Listen) {
            self.listening.insert(row.lport);
            self.waiting.push((row.inode, address(row.family, row.laddr).0, row.lport, row.rx_queue));
        } else if row.rport != 0 && range.is_some_and(|(first, last)| (first..=last).contains(&row.lport)) {
            let (family, lport, rport) = (row.family, row.lport, row.rport);
            self.ports.push(Port { row: [row.laddr, row.raddr], family, lport, rport });
        }
    }

    /// Returns the inodes of the sockets that have a file.
    pub fn inodes(&self) -> impl Iterator<Item = u64> {
        self.rows.iter().map(|row| row.0).filter(|inode| *inode != 0)
    }

    /// Works out destinations and owners once all rows are added.
    pub fn finish(&mut self, root: &ProcRoot, holders: &SocketHolders, denied: u32) {
        self.denied = denied;
        let mut destinations: HashMap<(IpAddr, IpAddr, u16), u32> = HashMap::new();
        let ports = std::mem::take(&mut self.ports);
        self.port_use = PortUse::of(
            ports
                .iter()
                .filter(|port| !self.listening.contains(&port.lport))
                .map(|port| (port.lport, (address(port.family, port.row[1]).0, port.rport))),
        );
        for port in ports {
            // A port with a listener belongs to a server; connect() did not choose it.
            if !self.listening.contains(&port.lport) {
                let [laddr, raddr] = port.row.map(|words| address(port.family, words).0);
                *destinations.entry((laddr, raddr, port.rport)).or_default() += 1;
            }
        }
        self.destinations = destinations
            .into_iter()
            .map(|((laddr, raddr, rport), ports)| Destination { laddr, raddr, rport, ports })
            .collect();
        self.destinations.sort_unstable_by_key(|to| (u32::MAX - to.ports, to.raddr, to.rport, to.laddr));

        let mut owners: BTreeMap<(u8, u32), [u64; STATES]> = BTreeMap::new();
        for (inode, state) in std::mem::take(&mut self.rows) {
            let key = match (inode, holders.holders(inode).first()) {
                (_, Some(pid)) => (0, *pid),
                (0, None) => (1, 0),
                (_, None) => (2, 0),
            };
            if let Some(count) = owners.entry(key).or_insert([0; STATES]).get_mut(usize::from(state)) {
                *count += 1;
            }
        }
        self.owners = owners
            .into_iter()
            .map(|((kind, pid), states)| {
                let owner = match kind {
                    0 => {
                        let comm = process::facts(root, pid).map(|(identity, _)| identity.comm).unwrap_or_default();
                        Owner::Process { pid, comm }
                    }
                    1 => Owner::Kernel,
                    _ => Owner::Unknown,
                };
                Owned { owner, states }
            })
            .collect();
        let names: HashMap<u32, &Owner> =
            self.owners.iter().filter_map(|owned| Some((owned.owner.pid()?, &owned.owner))).collect();
        let owner = |inode: u64| names.get(holders.holders(inode).first()?).map(|owner| (inode, (*owner).clone()));
        self.listeners = self.waiting.iter().filter_map(|waiting| owner(waiting.0)).collect();
        self.owners.sort_by_key(|owned| (u64::MAX - owned.total(), owned.owner.clone()));
    }

    /// Returns how many there are in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.states.iter().sum()
    }
}
