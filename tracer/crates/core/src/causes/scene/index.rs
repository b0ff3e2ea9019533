//! What of the scene belongs together by its addresses. Built once for each drawing, in one pass.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use tracer_stream::{ConnId, Party, Role, TcpState};

use super::{Conn, Scene};
use crate::causes::survey::{SurveySocket, Transport};

/// Local and remote address and port of a connection.
pub type Tuple = (IpAddr, u16, IpAddr, u16);

/// The scene by its addresses.
#[derive(Debug, Default)]
pub struct Index {
    conns: HashMap<Tuple, ConnId>,
    /// Numbers of connected sockets of the last survey.
    sockets: HashMap<Tuple, usize>,
    /// Those of the first one.
    first: HashMap<Tuple, usize>,
    /// Numbers of listeners, and of UDP sockets, by their local port.
    listeners: HashMap<u16, Vec<usize>>,
    datagrams: HashMap<u16, Vec<usize>>,
    homes: HashMap<IpAddr, Vec<u32>>,
    /// Connections that a program has had with a server since the trace began, whose handshake ended.
    answered: BTreeSet<(Option<u32>, IpAddr, u16)>,
}

impl Index {
    pub(super) fn of(scene: &Scene) -> Self {
        let mut index = Self::default();
        for conn in scene.conns.failed().chain(scene.conns.open()) {
            if let Some(tuple) = tuple(conn) {
                index.conns.insert(tuple, conn.id);
            }
            if let (Some(_), Some(raddr), Some(rport)) = (conn.established_ns, conn.ends.raddr, conn.ends.rport) {
                index.answered.insert((conn.owner.as_ref().map(|owner| owner.pid), raddr, rport));
            }
        }
        let host = scene.host();
        for (number, socket) in host.sockets.iter().enumerate() {
            match (socket.transport, socket.state) {
                (Transport::Udp, _) => index.datagrams.entry(socket.lport).or_default().push(number),
                (Transport::Tcp, TcpState::Listen) => index.listeners.entry(socket.lport).or_default().push(number),
                (Transport::Tcp, _) => {
                    index.sockets.insert((socket.laddr, socket.lport, socket.raddr, socket.rport), number);
                }
            }
        }
        let first = scene.first.iter().flat_map(|survey| &survey.sockets).enumerate();
        for (number, socket) in first.filter(|(_, socket)| socket.tcp.is_some()) {
            index.first.insert((socket.laddr, socket.lport, socket.raddr, socket.rport), number);
        }
        for namespace in &host.namespaces {
            for addr in namespace.devices.iter().flat_map(|device| &device.addresses) {
                let homes = index.homes.entry(*addr).or_default();
                if !homes.contains(&namespace.inode) {
                    homes.push(namespace.inode);
                }
            }
        }
        index
    }
}

/// The addresses of a connection, if they are complete.
#[must_use]
pub fn tuple(conn: &Conn) -> Option<Tuple> {
    Some((conn.ends.laddr?, conn.ends.lport?, conn.ends.raddr?, conn.ends.rport?))
}

impl Scene {
    /// The connection with these local and remote ends, open or failed.
    #[must_use]
    pub fn conn_of(&self, tuple: Tuple) -> Option<&Conn> {
        self.conns.get(*self.index().conns.get(&tuple)?)
    }

    /// The other end of a connection, if it is on this host, and no translation lies between.
    #[must_use]
    pub fn twin(&self, conn: &Conn) -> Option<&Conn> {
        let (laddr, lport, raddr, rport) = tuple(conn)?;
        self.conn_of((raddr, rport, laddr, lport)).filter(|twin| twin.id != conn.id)
    }

    /// The surveyed socket of a connection.
    #[must_use]
    pub fn socket_of(&self, tuple: Tuple) -> Option<&SurveySocket> {
        self.host().sockets.get(*self.index().sockets.get(&tuple)?)
    }

    /// The same socket in the first survey.
    #[must_use]
    pub fn first_socket_of(&self, tuple: Tuple) -> Option<&SurveySocket> {
        self.first.as_ref()?.sockets.get(*self.index().first.get(&tuple)?)
    }

    /// Payload that this end of a connection has sent, and its peer acknowledged, since the first survey.
    #[must_use]
    pub fn sent(&self, tuple: Tuple) -> Option<u64> {
        let of = |socket: &SurveySocket| socket.tcp.as_ref()?.tx_bytes;
        let before = self.first_socket_of(tuple).and_then(of).unwrap_or(0);
        let conn = self.conn_of(tuple);
        let at_end = || conn?.close.as_ref()?.tx_bytes;
        Some(self.socket_of(tuple).and_then(of).or_else(at_end)?.saturating_sub(before))
    }

    /// The process that has the end `addr`:`port` of packets to or from `other`: by its connection, or by a surveyed
    /// socket.
    #[must_use]
    pub fn owner_of(&self, transport: Transport, addr: IpAddr, port: u16, other: (IpAddr, u16)) -> Option<Party> {
        if transport == Transport::Tcp {
            let tuple = (addr, port, other.0, other.1);
            let by_conn = self.conn_of(tuple).and_then(|conn| conn.owner.clone());
            return by_conn.or_else(|| self.holder(self.socket_of(tuple)?));
        }
        let homes = self.homes_of(addr);
        let sockets = self.index().datagrams.get(&port)?;
        let sockets = sockets.iter().filter_map(|number| self.host().sockets.get(*number));
        let is_there = |socket: &&SurveySocket| {
            socket.laddr == addr || socket.laddr.is_unspecified() && homes.contains(&socket.netns)
        };
        self.holder(sockets.into_iter().find(is_there)?)
    }

    /// The first process that holds a surveyed socket.
    #[must_use]
    pub fn holder(&self, socket: &SurveySocket) -> Option<Party> {
        socket.pids.iter().find_map(|pid| self.party(*pid)).map(|party| Party { netns: Some(socket.netns), ..party })
    }

    /// The namespaces that have this address. (Each has its own 127.0.0.1.)
    #[must_use]
    pub fn homes_of(&self, addr: IpAddr) -> &[u32] {
        self.index().homes.get(&addr).map_or(&[], Vec::as_slice)
    }

    /// The namespaces where the connections of `conn` arrive.
    #[must_use]
    pub fn destination(&self, conn: &Conn) -> Vec<u32> {
        match (conn.ends.raddr, conn.ends.netns) {
            (Some(raddr), Some(own)) if raddr.is_loopback() => vec![own],
            (Some(raddr), Some(own)) if self.homes_of(raddr).contains(&own) => vec![own],
            (Some(raddr), _) => self.homes_of(raddr).to_vec(),
            (None, _) => Vec::new(),
        }
    }

    /// The surveyed listeners of this port, at any address of any namespace.
    pub fn listeners_of(&self, port: u16) -> impl Iterator<Item = &SurveySocket> {
        let numbers = self.index().listeners.get(&port).map_or(&[][..], Vec::as_slice);
        numbers.iter().filter_map(|number| self.host().sockets.get(*number))
    }

    /// The surveyed UDP sockets of this local port, at any address of any namespace.
    pub fn datagrams_of(&self, port: u16) -> impl Iterator<Item = &SurveySocket> {
        let numbers = self.index().datagrams.get(&port).map_or(&[][..], Vec::as_slice);
        numbers.iter().filter_map(|number| self.host().sockets.get(*number))
    }

    /// Whether a process has had a connection to that end, or still has one.
    #[must_use]
    pub fn has_reached(&self, pid: Option<u32>, addr: IpAddr, port: u16) -> bool {
        self.index().answered.contains(&(pid, addr, port))
    }

    /// The client's end of a connection: itself, or the other end.
    #[must_use]
    pub fn client_of<'s>(&'s self, conn: &'s Conn) -> &'s Conn {
        if self.is_client(conn) { conn } else { self.twin(conn).unwrap_or(conn) }
    }

    /// Whether this end asked for the connection: by its role, or because the other end's port is one of a listener.
    #[must_use]
    pub fn is_client(&self, conn: &Conn) -> bool {
        match conn.role {
            Role::Client => true,
            Role::Server | Role::Listener => false,
            Role::Unknown => {
                let listens = |port: Option<u16>| port.is_some_and(|port| self.index().listeners.contains_key(&port));
                listens(conn.ends.rport) || !listens(conn.ends.lport) && conn.ends.lport > conn.ends.rport
            }
        }
    }
}
