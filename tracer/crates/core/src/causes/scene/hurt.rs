//! The connections and processes that a group of dropped packets concerns, wherever it was dropped.

use std::{collections::BTreeSet, net::IpAddr};

use tracer_stream::{ConnId, Party};

use super::{Carried, Conn, Dropped, Scene, tuple};
use crate::causes::{survey::Transport, words::add};

/// What a group of dropped packets concerns.
#[derive(Debug, Default)]
pub struct Hurt<'s> {
    /// The clients' ends of their connections; the other end where only that is known.
    pub conns: Vec<&'s Conn>,
    /// The processes of the clients.
    pub clients: Vec<Party>,
    /// The processes that sent the packets.
    pub senders: Vec<Party>,
    /// The processes that would have got them.
    pub receivers: Vec<Party>,
}

impl Scene {
    /// What these packets concern: by their sockets where the trace knows them, and by their addresses.
    #[must_use]
    pub fn hurt(&self, group: &Dropped) -> Hurt<'_> {
        let mut hurt = Hurt::default();
        let mut ids: BTreeSet<ConnId> = BTreeSet::new();
        let transport = match group.carried {
            Carried::Datagram => Transport::Udp,
            Carried::Syn | Carried::SynAck | Carried::Segment => Transport::Tcp,
            Carried::Icmp | Carried::Other => return hurt,
        };
        for id in &group.conns {
            if let Some(conn) = self.conns.get(*id) {
                self.take(conn, &mut ids, &mut hurt);
            }
        }
        for (from, to) in ends(group) {
            let (sender, receiver) = ((from.0, from.1, to.0, to.1), (to.0, to.1, from.0, from.1));
            for conn in [sender, receiver].into_iter().filter_map(|tuple| self.conn_of(tuple)) {
                self.take(conn, &mut ids, &mut hurt);
            }
            let (by, of) = (self.owner_of(transport, from.0, from.1, to), self.owner_of(transport, to.0, to.1, from));
            let from_client = match group.carried {
                Carried::Syn | Carried::Datagram => true,
                Carried::SynAck => false,
                _ => !group.from_server && self.listeners_of(from.1).next().is_none(),
            };
            let client = if from_client { &by } else { &of };
            client.iter().for_each(|party| add(&mut hurt.clients, party.clone()));
            by.into_iter().for_each(|party| add(&mut hurt.senders, party));
            of.into_iter().for_each(|party| add(&mut hurt.receivers, party));
        }
        // The client's end was in order, and nothing of it is kept: the server has to send again.
        if hurt.clients.is_empty() && hurt.receivers.is_empty() {
            hurt.clients.clone_from(&hurt.senders);
        }
        hurt
    }

    fn take<'s>(&'s self, conn: &'s Conn, ids: &mut BTreeSet<ConnId>, hurt: &mut Hurt<'s>) {
        let client = self.client_of(conn);
        if ids.insert(client.id) {
            hurt.conns.push(client);
        }
        let by_socket = || tuple(client).and_then(|tuple| self.socket_of(tuple)).and_then(|socket| self.holder(socket));
        if self.is_client(client)
            && let Some(owner) = client.owner.clone().or_else(by_socket)
        {
            add(&mut hurt.clients, owner);
        }
    }
}

/// Source and destination of each stream of packets of a group.
#[must_use]
pub fn ends(group: &Dropped) -> Vec<((IpAddr, u16), (IpAddr, u16))> {
    let (Some(saddr), Some(daddr), Some(port)) = (group.saddr, group.daddr, group.port) else { return Vec::new() };
    let ends = group.client_ports.iter().map(|client| match group.from_server {
        true => ((saddr, port), (daddr, *client)),
        false => ((saddr, *client), (daddr, port)),
    });
    ends.collect()
}
