//! listen() on an unbound socket: the kernel chooses the port only after the transition to `LISTEN` is traced
//! (`inet_csk_listen_start`). The event waits for the port: from a look at the tables, a child's record, or the close.

use tracer_common::record::{RecordKind, SocketRecord};
use tracer_stream::{Kind, Sink, TcpState};

use super::{Connection, Correlation, Gate, Holders};

impl<G: Gate> Correlation<G> {
    /// The socket of `record` begins to listen.
    pub(super) fn listens(&mut self, connection: &mut Connection, record: &SocketRecord, sink: &mut dyn Sink) {
        let (boot_ns, id) = (record.header.boot_ns, record.state.id);
        let backlog = u32::try_from(record.detail).ok();
        connection.inode = u64::from(record.state.parent);
        self.listeners.add(id, connection);
        // Only an inode could identify it.
        if connection.tuple.lport == 0 && connection.inode != 0 {
            connection.listen_waits = Some((boot_ns, backlog));
            self.unbound.insert(connection.inode, id);
            self.unbound_unasked = true;
        } else {
            self.say(connection, boot_ns, Kind::Listen { backlog }, sink);
        }
    }

    /// The inodes of listeners whose port is to be looked up, if there is a new one.
    pub(super) fn unbound(&mut self) -> Vec<u64> {
        let asks = std::mem::take(&mut self.unbound_unasked);
        if asks { self.unbound.keys().copied().collect() } else { Vec::new() }
    }

    /// Takes a listener's port from a child's record.
    pub(super) fn port_of_parent(&mut self, record: &SocketRecord, sink: &mut dyn Sink) {
        let inode = u64::from(record.state.parent);
        if self.unbound.is_empty() || RecordKind::from_number(record.header.kind) != Some(RecordKind::Established) {
            return;
        }
        if self.unbound.contains_key(&inode) {
            self.bound_to(inode, record.tuple.lport, sink);
        }
    }

    /// Takes the ports of waiting listeners from a look at the tables.
    pub(super) fn take_ports(&mut self, holders: &Holders, sink: &mut dyn Sink) {
        for socket in holders.sockets.iter().filter(|socket| socket.state == TcpState::Listen) {
            if self.unbound.contains_key(&socket.inode) {
                self.bound_to(socket.inode, socket.tuple.lport, sink);
            }
        }
        // A listener older than the look and in no table has closed, or cannot be found: it waits no more.
        let waited = |id: &u64| {
            let waits = self.connections.get(id).and_then(|connection| connection.listen_waits);
            waits.is_none_or(|(since, _)| since < holders.began_ns)
        };
        let mut late: Vec<u64> = self.unbound.iter().filter(|(_, id)| waited(id)).map(|(inode, _)| *inode).collect();
        late.sort_unstable();
        for inode in late {
            self.bound_to(inode, 0, sink);
        }
    }

    /// Emits `listen` for the socket with this inode, at `port` (0: unknown).
    fn bound_to(&mut self, inode: u64, port: u16, sink: &mut dyn Sink) {
        let Some(id) = self.unbound.remove(&inode) else { return };
        let Some(mut connection) = self.connections.remove(&id) else { return };
        connection.tuple.lport = port;
        self.listeners.add(id, &connection);
        self.say_listens(&mut connection, sink);
        self.connections.insert(id, connection);
    }

    /// Emits `listen`, if it was held back: no more can be learnt of it.
    pub(super) fn say_listens(&mut self, connection: &mut Connection, sink: &mut dyn Sink) {
        if let Some((boot_ns, backlog)) = connection.listen_waits.take() {
            self.unbound.remove(&connection.inode);
            self.say(connection, boot_ns, Kind::Listen { backlog }, sink);
        }
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::{
        decode::Record,
        record::{RecordKind as K, RecordRole as R, Tuple},
        tcp::TcpState,
    };

    use super::super::{
        Correlation, Holders, Input, SeedSocket,
        question::Answer,
        tests::{Only, Said, close, record, tuple},
    };

    fn unbound() -> Tuple {
        Tuple { raddr: [0; 4], ..tuple(0, 0) }
    }

    fn looked(holders: Holders) -> Input<Record<'static>> {
        Input::Answer(Answer::Owners { processes: Vec::new(), holders })
    }

    /// A core in which a socket of inode 7 listens.
    fn listening(said: &mut Said) -> Correlation<Only> {
        let mut core = Correlation::new(Only(None));
        let mut listens = record(K::Listen, 20, 2, R::Listener, 0, 5, unbound());
        listens.state.parent = 7;
        core.apply(Input::Record(Record::Socket(K::Listen, &listens)), said);
        assert_eq!((said.0.len(), core.unbound(), core.unbound()), (0, vec![7], vec![]));
        core
    }

    #[test]
    fn a_look_tells_the_port_of_the_one_with_the_inode() {
        let mut said = Said::default();
        let mut core = listening(&mut said);
        let found = |inode| SeedSocket {
            tuple: tuple(80, 0),
            v6only: None,
            state: TcpState::Listen,
            inode,
            holders: Vec::new(),
        };
        // The look began before that socket listened.
        core.apply(looked(Holders { began_ns: 20, sockets: vec![found(8)] }), &mut said);
        assert!(said.0.is_empty());
        core.apply(looked(Holders { began_ns: 20, sockets: vec![found(7)] }), &mut said);
        assert_eq!(said.0, ["20 listen 1 5 listen"]);
    }

    #[test]
    fn one_that_no_look_finds_waits_no_more() {
        let mut said = Said::default();
        let mut core = listening(&mut said);
        core.apply(looked(Holders { began_ns: 21, sockets: Vec::new() }), &mut said);
        assert_eq!(said.0, ["20 listen 1 5 listen"]);
    }

    #[test]
    fn a_child_or_the_close_tells_it_first() {
        let mut said = Said::default();
        let mut core = listening(&mut said);
        let mut child = record(K::Established, 30, 3, R::Server, 0, 0, tuple(80, 5000));
        child.state.parent = 7;
        core.apply(Input::Record(Record::Socket(K::Established, &child)), &mut said);
        assert_eq!(said.0, ["20 listen 1 5 listen", "30 established 2 5 listener"]);
        let mut said = Said::default();
        let mut core = listening(&mut said);
        let gone = close(record(K::Close, 40, 2, R::Listener, 0, 5, tuple(80, 0)), TcpState::Listen, 0);
        core.apply(Input::Record(Record::Close(&gone)), &mut said);
        assert_eq!(said.0, ["20 listen 1 5 listen", "40 close closed_local 1 5 listen"]);
    }
}
