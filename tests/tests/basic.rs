//! The plain ways to connect and to close.

use tracer_tests::generator::{Actor, Listener, Pair};
use tracer_tests::netns::Netns;
use tracer_tests::trace::Trace;

#[test]
fn blocking_connect_v4() {
    let ns = Netns::new();
    let (client, server) = (Actor::start(&ns), Actor::start(&ns));
    let trace = Trace::start();
    let listener = Listener::open(&server, &ns, "127.0.0.1:0");
    let mut pair = Pair::open(&client, &ns, &listener);
    pair.client_sends(1000);
    pair.server_sends(3000);
    let mut facts = pair.client_closes_first().to_vec();
    facts.push(listener.close());
    trace.expect(&[&ns], &facts);
}
