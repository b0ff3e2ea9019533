//! A connection between two actors, whose facts follow each operation.

use std::net::SocketAddr;

use serde_json::json;

use super::actor::{Actor, Address, Reply};
use super::fact::Fact;
use crate::netns::Netns;

/// A listening socket of an actor.
pub struct Listener<'a> {
    /// The server.
    pub actor: &'a Actor,
    /// Its namespace.
    pub namespace: &'a Netns,
    /// Its descriptor in the actor.
    pub fd: i64,
    /// Its address.
    pub addr: SocketAddr,
    /// Its life so far.
    pub fact: Fact,
}

impl<'a> Listener<'a> {
    /// Listens at `at` (port 0: any).
    pub fn open(actor: &'a Actor, namespace: &'a Netns, at: impl Address) -> Self {
        Self::open_with(actor, namespace, at, 16, 0, |_| ())
    }

    /// Like [`Listener::open`], with a backlog and a protocol; `prepare` gets the socket before it listens.
    pub fn open_with(
        actor: &'a Actor,
        namespace: &'a Netns,
        at: impl Address,
        backlog: u32,
        protocol: i32,
        prepare: impl FnOnce(i64),
    ) -> Self {
        let at: SocketAddr = at.text().parse().expect("a listener's address is one");
        let family = if at.is_ipv6() { 6 } else { 4 };
        let fd = actor.must(json!({ "op": "socket", "family": family, "protocol": protocol })).fd();
        actor.bind(fd, at);
        prepare(fd);
        let reply = actor.must(json!({ "op": "listen", "fd": fd, "backlog": backlog }));
        let addr: SocketAddr = reply.value.as_str().and_then(|text| text.parse().ok()).expect("it has an address");
        let fact = Fact::new("listener", namespace, &reply.who, Some(addr)).label("listener");
        Self { actor, namespace, fd, addr, fact }
    }

    /// Accepts a connection; returns the descriptor and the server side's fact.
    pub fn accept(&self) -> (i64, Fact) {
        self.accept_by(self.actor)
    }

    /// Like [`Listener::accept`], by another process that has inherited the listener.
    pub fn accept_by(&self, acceptor: &Actor) -> (i64, Fact) {
        let reply = acceptor.must(json!({ "op": "accept", "fd": self.fd }));
        (reply.fd(), self.accepted(&reply))
    }

    /// The server side's fact of a finished accept().
    #[must_use]
    pub fn accepted(&self, reply: &Reply) -> Fact {
        let fact = Fact::new("server", self.namespace, &reply.who, Some(reply.local())).label("server side");
        match reply.address("peer") {
            Some(peer) => fact.peer(peer),
            None => fact,
        }
    }

    /// Closes it; returns its fact.
    pub fn close(mut self) -> Fact {
        self.actor.on("close", self.fd);
        // A listener has no verdict but its own close.
        self.fact.end("closed_local", None);
        self.fact
    }

    /// Leaves it open to the end of the trace; returns its fact.
    #[must_use]
    pub fn stay(mut self) -> Fact {
        self.fact.end("open_at_end", None);
        self.fact.close_optional = true;
        self.fact
    }
}

/// An established connection.
pub struct Pair<'a> {
    /// The connecting actor.
    pub client: &'a Actor,
    /// The client's descriptor.
    pub client_fd: i64,
    /// The client side.
    pub client_fact: Fact,
    /// The accepting actor.
    pub server: &'a Actor,
    /// The server's descriptor.
    pub server_fd: i64,
    /// The server side.
    pub server_fact: Fact,
}

impl<'a> Pair<'a> {
    /// Connects `client` of `namespace` to the listener by a blocking connect(), and accepts.
    pub fn open(client: &'a Actor, namespace: &Netns, listener: &Listener<'a>) -> Self {
        Self::open_to(client, namespace, listener, listener.addr)
    }

    /// Like [`Pair::open`], to another address of the listener.
    pub fn open_to(client: &'a Actor, namespace: &Netns, listener: &Listener<'a>, to: SocketAddr) -> Self {
        let fd = client.socket(if to.is_ipv6() { 6 } else { 4 });
        Self::open_by(client, namespace, listener, fd, to)
    }

    /// Like [`Pair::open`], by an existing socket.
    pub fn open_by(client: &'a Actor, namespace: &Netns, listener: &Listener<'a>, fd: i64, to: SocketAddr) -> Self {
        let connected = client.connect(fd, to);
        assert_eq!(connected.errno(), None, "{} connects to {to}", connected.who.pid);
        Self::connected(client, namespace, listener, fd, to, &connected)
    }

    /// Accepts the connection of `connected`.
    pub fn connected(
        client: &'a Actor,
        namespace: &Netns,
        listener: &Listener<'a>,
        fd: i64,
        to: SocketAddr,
        connected: &Reply,
    ) -> Self {
        let local = connected.local();
        let client_fact = Fact::new("client", namespace, &connected.who, Some(local)).peer(to).label("client side");
        let (server_fd, server_fact) = listener.accept();
        assert_eq!(server_fact.rport, client_fact.lport, "the accepted connection is the one that was made");
        Self { client, client_fd: fd, client_fact, server: listener.actor, server_fd, server_fact }
    }

    /// The client sends `len` bytes, which the server receives.
    pub fn client_sends(&mut self, len: u64) {
        self.client.send(self.client_fd, len);
        self.server.recv(self.server_fd, len);
        self.client_sent(len);
    }

    /// The server sends `len` bytes, which the client receives.
    pub fn server_sends(&mut self, len: u64) {
        self.server.send(self.server_fd, len);
        self.client.recv(self.client_fd, len);
        self.server_sent(len);
    }

    /// Adds `len` bytes from the client to the server to the facts.
    pub fn client_sent(&mut self, len: u64) {
        self.client_fact.tx = self.client_fact.tx.map(|n| n + len);
        self.server_fact.rx = self.server_fact.rx.map(|n| n + len);
    }

    /// Adds `len` bytes from the server to the client to the facts.
    pub fn server_sent(&mut self, len: u64) {
        self.server_fact.tx = self.server_fact.tx.map(|n| n + len);
        self.client_fact.rx = self.client_fact.rx.map(|n| n + len);
    }

    /// Waits until each side knows that the other has everything.
    pub fn await_acked(&self) {
        self.client.on("await_acked", self.client_fd);
        self.server.on("await_acked", self.server_fd);
    }

    /// The client closes; the server sees the end and closes, too.
    pub fn client_closes_first(mut self) -> [Fact; 2] {
        self.client.on("close", self.client_fd);
        self.server.on("recv_end", self.server_fd);
        self.server.on("close", self.server_fd);
        self.client_fact.end("closed_local", None);
        self.server_fact.end("closed_remote", None);
        self.facts()
    }

    /// The server closes; the client sees the end and closes, too.
    pub fn server_closes_first(mut self) -> [Fact; 2] {
        self.server.on("close", self.server_fd);
        self.client.on("recv_end", self.client_fd);
        self.client.on("close", self.client_fd);
        self.server_fact.end("closed_local", None);
        self.client_fact.end("closed_remote", None);
        self.facts()
    }

    /// The client resets by closing; the server sees it and closes, too.
    pub fn client_resets(mut self) -> [Fact; 2] {
        self.await_acked();
        self.client.on("linger_zero", self.client_fd);
        self.client.on("close", self.client_fd);
        self.server.await_state(self.server_fd, "CLOSE");
        self.server.on("close", self.server_fd);
        self.client_fact.end("reset_local", None);
        self.server_fact.end("reset_remote", Some("ECONNRESET"));
        self.facts()
    }

    /// The server resets by closing; the client sees it and closes, too.
    pub fn server_resets(mut self) -> [Fact; 2] {
        self.await_acked();
        self.server.on("linger_zero", self.server_fd);
        self.server.on("close", self.server_fd);
        self.client.await_state(self.client_fd, "CLOSE");
        self.client.on("close", self.client_fd);
        self.server_fact.end("reset_local", None);
        self.client_fact.end("reset_remote", Some("ECONNRESET"));
        self.facts()
    }

    /// Leaves both sides open to the end of the trace.
    #[must_use]
    pub fn stays_open(mut self) -> [Fact; 2] {
        for fact in [&mut self.client_fact, &mut self.server_fact] {
            fact.end("open_at_end", None);
            // The trace has no counts for an open connection.
            (fact.tx, fact.rx) = (None, None);
        }
        self.facts()
    }

    /// The facts of both sides.
    #[must_use]
    pub fn facts(self) -> [Fact; 2] {
        [self.client_fact, self.server_fact]
    }
}
