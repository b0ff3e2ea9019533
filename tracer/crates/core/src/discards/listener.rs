//! Listeners that drop SYNs: the time since their last accept(), and the clients that wait.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    rc::Rc,
};

use tracer_common::record::Tuple;
use tracer_stream::{self as stream, Owner, Role};
use tracer_tables::discards::Look;

use crate::{Correlation, Gate, connection::Connection};

/// The most listeners, and ports, whose last accept() is remembered.
const MOST_ACCEPTS: usize = 16_384;
/// The most clients of a listener that are named.
const MOST_CLIENTS: usize = 4;
/// The most clients that gave up lately that are remembered, and for how long.
const MOST_GIVEN_UP: usize = 64;
const GIVEN_UP_NS: u64 = 10_000_000_000;

/// The last accept() of each listener.
#[derive(Default)]
pub struct Accepts {
    by_inode: HashMap<u64, u64>,
    /// By namespace and port, for unknown listeners.
    of_some: HashMap<(u32, u16), u64>,
    /// The tables ran out of room.
    full: bool,
}

impl Accepts {
    /// Notes an accept() by the listener with the inode `parent`; 0 if unknown.
    pub fn add(&mut self, child: &Tuple, parent: u64, boot_ns: u64) {
        let room = self.by_inode.len() + self.of_some.len() < MOST_ACCEPTS;
        let place = (child.netns, child.lport);
        let last = if parent == 0 { self.of_some.get_mut(&place) } else { self.by_inode.get_mut(&parent) };
        match last {
            Some(last) => *last = boot_ns,
            None if !room => self.full = true,
            None if parent == 0 => drop(self.of_some.insert(place, boot_ns)),
            None => drop(self.by_inode.insert(parent, boot_ns)),
        }
    }

    /// The last accept() of this listener, 0 for none; `None` if unknown.
    fn last(&self, netns: u32, port: u16, inode: u64) -> Option<u64> {
        // Among several listeners of one port, the owner of such an accepted connection is unknown.
        let unknown = self.full || inode == 0 || self.of_some.contains_key(&(netns, port));
        (!unknown).then(|| self.by_inode.get(&inode).copied().unwrap_or(0))
    }
}

/// A client that waited for an answer.
struct Client {
    netns: u32,
    near: IpAddr,
    far: IpAddr,
    port: u16,
    owner: Option<Rc<Owner>>,
    ended_ns: Option<u64>,
}

impl Client {
    /// `None` if it did not wait in vain, or if a packet of it is known to have been dropped elsewhere.
    fn of(connection: &Connection, ended_ns: Option<u64>) -> Option<Self> {
        let waits = connection.role == Role::Client
            && connection.established_ns == 0
            && !connection.established_said
            && connection.drops == 0;
        let tuple = &connection.tuple;
        waits.then(|| Self {
            netns: tuple.netns,
            near: stream::address(tuple.family, tuple.laddr).0,
            far: stream::address(tuple.family, tuple.raddr).0,
            port: tuple.rport,
            owner: connection.owner.clone(),
            ended_ns,
        })
    }
}

/// Clients that gave up connect().
#[derive(Default)]
pub struct GivenUp(VecDeque<Client>);

impl GivenUp {
    /// Notes that a connection has ended.
    pub fn add(&mut self, connection: &Connection, boot_ns: u64) {
        let Some(client) = Client::of(connection, Some(boot_ns)).filter(|_| !connection.preexisting) else { return };
        if self.0.len() >= MOST_GIVEN_UP {
            self.0.pop_front();
        }
        self.0.push_back(client);
    }
}

impl<G: Gate> Correlation<G> {
    /// The time since a listener's last accept(); `None` if unknown.
    pub(super) fn no_accept_us(&self, listener: Option<&Connection>, inode: u64, boot_ns: u64) -> Option<u64> {
        let counting = self.discards.counting.filter(|counting| counting.accepts && self.accept_hooked)?;
        let listener = listener?;
        let since = self.discards.accepts.last(listener.tuple.netns, listener.tuple.lport, inode)?;
        Some(boot_ns.saturating_sub(since.max(counting.began_ns).max(listener.started_ns)) / 1000)
    }

    /// The clients that wait for an answer from a listener, or gave up lately. Addresses of other namespaces may be
    /// equal by chance: where several listeners can be meant, names no client.
    pub(super) fn clients_of(&self, listener: &Tuple, look: &Look) -> Vec<Rc<Owner>> {
        let (laddr, _) = stream::address(listener.family, listener.laddr);
        // A listener on any address is one of many at this port.
        if laddr.is_unspecified() {
            return Vec::new();
        }
        // The table has no stable order.
        let mut open: Vec<&Connection> = self.connections.values().map(Box::as_ref).collect();
        open.retain(|connection| {
            let waits = connection.role == Role::Client
                && connection.tuple.rport == listener.lport
                && connection.started_ns <= look.boot_ns;
            waits || connection.role == Role::Listener && connection.tuple.lport == listener.lport
        });
        open.sort_by_key(|connection| connection.conn);
        let twin = open.iter().any(|other| {
            other.role == Role::Listener
                && other.tuple.netns != listener.netns
                && stream::address(other.tuple.family, other.tuple.laddr).0 == laddr
        });
        let waiting: Vec<Client> = open.iter().filter_map(|connection| Client::of(connection, None)).collect();
        let lately = |client: &&Client| {
            client.ended_ns.is_none_or(|at| at.saturating_add(GIVEN_UP_NS) > look.boot_ns)
                && client.far == laddr
                && client.port == listener.lport
        };
        let all: Vec<&Client> = waiting.iter().chain(&self.discards.given_up.0).filter(lately).collect();
        let local = |client: &Client| client.netns == listener.netns;
        let ambiguous = |client: &Client| {
            twin || all.iter().any(|other| !local(other) && other.netns != client.netns && other.near == client.near)
        };
        let mut owners: Vec<Rc<Owner>> = Vec::new();
        for client in all.iter().filter(|client| local(client) || !ambiguous(client)) {
            let Some(owner) = &client.owner else { continue };
            if owners.len() < MOST_CLIENTS && !owners.iter().any(|known| known.pid == owner.pid) {
                owners.push(Rc::clone(owner));
            }
        }
        owners
    }
}
