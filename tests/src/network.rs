//! The subject of the tests of `tracer net`: two namespaces with a past, and its JSON.

use std::net::UdpSocket;

use serde_json::Value;

use crate::agent::run_to_end;
use crate::generator::{Actor, Listener, Pair};
use crate::netns::Netns;
use crate::traffic::sys::until;

/// A client and a server in two namespaces on a wire, with past traffic: IPv4 and IPv6 connections, a refused one, a
/// neighbour without an answer, unwanted datagrams.
pub struct Network {
    /// The client's namespace.
    pub client_ns: Netns,
    /// The server's namespace.
    pub server_ns: Netns,
    /// Connects.
    pub client: Actor,
    /// Listens.
    pub server: Actor,
}

impl Network {
    /// With routes and a neighbour that is never asked, and no traffic yet.
    #[must_use]
    pub fn new() -> Self {
        let (client_ns, server_ns) = Netns::pair();
        for family in ["ipv4", "ipv6"] {
            client_ns.sysctl(&format!("net/{family}/neigh/wire/mcast_solicit"), "1");
        }
        client_ns.ip(&["route", "add", "default", "via", "10.7.0.2"]);
        client_ns.ip(&["route", "add", "192.0.2.0/24", "via", "10.7.0.2", "metric", "77"]);
        client_ns.ip(&["route", "add", "unreachable", "198.51.100.0/24"]);
        client_ns.ip(&["route", "add", "blackhole", "203.0.113.0/24"]);
        client_ns.ip(&["-6", "route", "add", "default", "via", "fd07::2"]);
        client_ns.ip(&["-6", "route", "add", "2001:db8::/32", "via", "fd07::2", "metric", "99"]);
        client_ns.ip(&["-6", "route", "add", "unreachable", "2001:db8:1::/48"]);
        client_ns.ip(&["neigh", "add", "10.7.0.66", "lladdr", "02:00:00:00:00:66", "dev", "wire", "nud", "permanent"]);
        let client = Actor::builder(&client_ns).comm("net client").start();
        let server = Actor::builder(&server_ns).comm("net server").start();
        Self { client_ns, server_ns, client, server }
    }

    /// Makes the traffic: the client tries nine TCP connections.
    ///
    /// # Panics
    /// If one ends in another way than planned.
    pub fn busy(&self) {
        for address in ["10.7.0.2:80", "[fd07::2]:80"] {
            let listener = Listener::open(&self.server, &self.server_ns, address);
            for _ in 0..3 {
                let pair = Pair::open(&self.client, &self.client_ns, &listener);
                self.client.send(pair.client_fd, 5000);
                self.server.recv(pair.server_fd, 5000);
                self.client.on("close", pair.client_fd);
                self.server.on("close", pair.server_fd);
            }
            self.server.on("close", listener.fd);
        }
        for (address, errno) in
            [("10.7.0.2:9", "ECONNREFUSED"), ("[fd07::2]:9", "ECONNREFUSED"), ("10.7.0.99:9", "EHOSTUNREACH")]
        {
            let fd = self.client.socket(if address.starts_with('[') { 6 } else { 4 });
            assert_eq!(self.client.connect(fd, address).errno(), Some(errno), "{address}");
            self.client.on("close", fd);
        }
        // A SYN that was retransmitted meanwhile starts another query.
        until(|| Ok(self.client_ns.ip(&["neigh", "show", "10.7.0.99"]).contains("FAILED")))
            .expect("the neighbour is given up");
        self.client_ns.within(|| {
            let udp = UdpSocket::bind("0.0.0.0:0").expect("a UDP socket is bound");
            for _ in 0..4 {
                udp.send_to(b"anybody?", "10.7.0.2:9").expect("a datagram is sent");
            }
        });
    }
}

/// The object that `tracer net --json ARGS` prints.
///
/// # Panics
/// If it does not print one.
#[must_use]
pub fn net(args: &[&str]) -> Value {
    let (status, out, log) = run_to_end(&[&["net", "--json"], args].concat());
    assert!(status.success(), "{log}");
    assert_eq!(out.lines().count(), 1, "{out}");
    serde_json::from_str(&out).expect("an object")
}

/// JSON as a value.
///
/// # Panics
/// If it is invalid.
#[must_use]
pub fn json_of(text: &str) -> Value {
    serde_json::from_str(text.trim()).expect("JSON")
}

/// A string, empty if it is another type.
#[must_use]
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A list.
///
/// If it is another type.
#[must_use]
pub fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}
