//! The start of most tests: one or two namespaces, a client, a server, and a trace of them.

use std::net::{IpAddr, SocketAddr};

use crate::generator::{Actor, Address, Fact, Listener, Pair};
use crate::netns::Netns;
use crate::stream::Stream;
use crate::trace::Trace;
use crate::wire::Wire;

/// A client and a server, each a process of its own, and a trace that has begun.
pub struct Scene {
    /// The client's namespace.
    pub client_ns: Netns,
    /// The server's namespace, if that is another one.
    other_ns: Option<Netns>,
    /// Connects. Older than the trace.
    pub client: Actor,
    /// Listens. Younger than the trace.
    pub server: Actor,
    /// The trace.
    pub trace: Trace,
}

impl Scene {
    /// Client and server in one namespace, over its loopback device.
    #[must_use]
    pub fn loopback() -> Self {
        Self::of(Netns::new(), None, &[])
    }

    /// Like [`Scene::loopback`], with more arguments for the tracer.
    #[must_use]
    pub fn loopback_with(args: &[&str]) -> Self {
        Self::of(Netns::new(), None, args)
    }

    /// Client and server in two namespaces joined by a veth pair: the client is `10.7.0.1`, `fd07::1`
    /// and `fe80::1`, the server `.2`.
    #[must_use]
    pub fn veth() -> Self {
        let (a, b) = Netns::pair();
        Self::of(a, Some(b), &[])
    }

    /// Like [`Scene::veth`], with more arguments for the tracer.
    #[must_use]
    pub fn veth_with(args: &[&str]) -> Self {
        let (a, b) = Netns::pair();
        Self::of(a, Some(b), args)
    }

    /// Like [`Scene::veth`], over a wire that can be held.
    ///
    /// # Errors
    /// The reason to skip, if this kernel has no such wire.
    pub fn wire() -> Result<(Self, Wire), String> {
        let (a, b, wire) = Wire::between_two()?;
        Ok((Self::of(a, Some(b), &[]), wire))
    }

    fn of(client_ns: Netns, other_ns: Option<Netns>, args: &[&str]) -> Self {
        let client = Actor::builder(&client_ns).comm("test client").start();
        let trace = Trace::with(args);
        let server = Actor::builder(other_ns.as_ref().unwrap_or(&client_ns)).comm("test server").start();
        Self { client_ns, other_ns, client, server, trace }
    }

    /// The server's namespace.
    #[must_use]
    pub fn server_ns(&self) -> &Netns {
        self.other_ns.as_ref().unwrap_or(&self.client_ns)
    }

    /// The server listens at `at`.
    pub fn listen(&self, at: impl Address) -> Listener<'_> {
        Listener::open(&self.server, self.server_ns(), at)
    }

    /// The client connects to the listener by a blocking connect(), which the server accepts.
    pub fn pair<'a>(&'a self, listener: &Listener<'a>) -> Pair<'a> {
        Pair::open(&self.client, &self.client_ns, listener)
    }

    /// The fact of a connection attempt by the client; `reply` has the local address.
    ///
    /// # Panics
    /// If `to` is no address.
    #[must_use]
    pub fn attempt(&self, reply: &crate::generator::Reply, to: impl Address) -> Fact {
        let to: SocketAddr = to.text().parse().expect("an address");
        let local = reply.address("local").filter(|local| local.port() != 0);
        let mut fact = Fact::new("client", &self.client_ns, &reply.who, local).peer(to).label("attempt");
        // After a failure the kernel has forgotten the address, though not the port.
        if fact.laddr.is_some_and(|addr| addr.is_unspecified()) {
            let to = to.ip().to_canonical();
            fact.laddr = Some(if to.is_loopback() { to } else { IpAddr::from([10, 7, 0, 1]) });
        }
        fact
    }

    /// Ends the trace and compares.
    pub fn expect(self, facts: &[Fact]) -> Stream {
        let Self { client_ns, other_ns, client, server, trace } = self;
        let namespaces: Vec<&Netns> = [&client_ns].into_iter().chain(other_ns.as_ref()).collect();
        let stream = trace.expect(&namespaces, facts);
        // The actors live to this point: their open sockets are open at the end.
        drop((client, server));
        stream
    }

    /// Like [`Scene::expect`], for a filter that hides the trace's fence.
    pub fn expect_filtered(self, facts: &[Fact]) -> Stream {
        let Self { client_ns, other_ns, client, server, trace } = self;
        let namespaces: Vec<&Netns> = [&client_ns].into_iter().chain(other_ns.as_ref()).collect();
        let stream = trace.expect_filtered(&namespaces, facts);
        drop((client, server));
        stream
    }
}
