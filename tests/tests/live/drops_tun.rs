//! Packets that a tun device drops because the program behind it does not read them: the device has taken the sockets
//! off the packets by then.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::drops::{address, attempt, datagram, expect, is_ours, symbol_is};
use tracer_tests::netns::Netns;
use tracer_tests::skip::skip;
use tracer_tests::wire::{Wire, tun};

/// A namespace with a device without a reader; its queue of one packet is full.
fn full() -> Result<(Netns, OwnedFd), String> {
    let netns = Netns::new();
    let device = tun(&netns)?;
    netns.sysctl("net/ipv6/conf/wire/addr_gen_mode", "1");
    netns.ip(&["link", "set", "wire", "txqueuelen", "1", "up"]);
    netns.ip(&["addr", "add", "10.7.0.1/24", "dev", "wire"]);
    datagram(&netns, address("10.7.0.2:9"), None);
    Ok((netns, device))
}

fn of_the_device(event: &Value, netns: &Netns) {
    expect(event, &[("direction", "out".into()), ("netns", netns.inode().into()), ("iface", "wire".into())]);
    symbol_is(event, &["tun_net_xmit"]);
}

fn dropped(agent: &Agent, port: u16) -> Value {
    agent.wait_for(&format!("drop of a packet to port {port}"), |event| {
        event["event"] == "drop" && event["dport"] == port
    })
}

#[test]
fn a_syn_that_a_tun_device_drops_is_its_clients() {
    let (netns, device) = match full() {
        Ok(scene) => scene,
        Err(reason) => return skip(&reason),
    };
    let agent = Agent::live(&["--event", "drop,close"]);
    attempt(&netns, address("10.7.0.2:4040"));
    let event = dropped(&agent, 4040);
    of_the_device(&event, &netns);
    is_ours(&event);
    expect(&event, &[("role", "client".into()), ("owner_source", "connect".into()), ("lport", event["sport"].clone())]);
    expect(&event, &[("laddr", "10.7.0.1".into()), ("raddr", "10.7.0.2".into()), ("rport", 4040.into())]);
    expect(&event, &[("socket_netns", netns.inode().into())]);
    agent.wait_for("its end", |close| close["event"] == "close" && close["conn"] == event["conn"]);
    drop(device);
}

#[test]
fn a_datagram_that_a_tun_device_drops_has_its_senders_addresses() {
    let (netns, device) = match full() {
        Ok(scene) => scene,
        Err(reason) => return skip(&reason),
    };
    let agent = Agent::live(&["--event", "drop"]);
    let port = datagram(&netns, address("10.7.0.2:4041"), None);
    let event = dropped(&agent, 4041);
    of_the_device(&event, &netns);
    expect(&event, &[("proto", "udp".into()), ("laddr", "10.7.0.1".into()), ("lport", port.into())]);
    expect(&event, &[("raddr", "10.7.0.2".into()), ("rport", 4041.into())]);
    drop(device);
}

#[test]
fn data_that_a_tun_device_drops_is_its_connections() {
    let (a, b, wire) = match Wire::between_two() {
        Ok(scene) => scene,
        Err(reason) => return skip(&reason),
    };
    a.ip(&["link", "set", "wire", "txqueuelen", "1"]);
    let listener = b.within(|| TcpListener::bind("10.7.0.2:4042").expect("it listens"));
    let agent = Agent::live(&["--event", "drop,established,close"]);
    let mut client = a.within(|| TcpStream::connect("10.7.0.2:4042")).expect("it connects");
    client.set_nodelay(true).expect("it sends at once");
    wire.hold();
    // One packet is on its way, one waits, and the queue is full.
    for _ in 0..8 {
        client.write_all(b"more").expect("the socket takes it");
    }
    let event = dropped(&agent, 4042);
    of_the_device(&event, &a);
    is_ours(&event);
    let established = agent.settles_now(|events| {
        events.iter().any(|e| e["event"] == "established" && e["conn"] == event["conn"] && e["role"] == "client")
    });
    assert!(established, "{event}");
    expect(&event, &[("lport", client.local_addr().expect("its address").port().into())]);
    wire.release();
    drop((client, listener));
}
