//! Frames that an XDP program drops, behind the driver and in it.

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::bpf::{XdpDrop, XdpMode};
use tracer_tests::drops::{address, attempt, expect, wait};
use tracer_tests::netns::Netns;
use tracer_tests::skip::skip;

/// The drop of a SYN to `port` in `b`, the program's number in its hint.
fn dropped(mode: XdpMode, port: u16) {
    let (a, b) = Netns::pair();
    let neighbour = b.run(&["cat", "/sys/class/net/wire/address"]);
    a.ip(&["neigh", "replace", "10.7.0.2", "lladdr", neighbour.trim(), "dev", "wire"]);
    let xdp = match XdpDrop::attach(&b, "wire", mode) {
        Ok(xdp) => xdp,
        Err(reason) => return skip(&reason),
    };
    let agent = Agent::live(&["--netns", b.name(), "--event", "drop"]);
    attempt(&a, address(&format!("10.7.0.2:{port}")));
    let event = wait(&agent, "drop by the program", |event| event["event"] == "drop" && event["dport"] == port);
    expect(&event, &[("class", "policy".into()), ("direction", "in".into()), ("iface", "wire".into())]);
    expect(&event, &[("protocol", "tcp".into()), ("tcp_flags", "S".into()), ("saddr", "10.7.0.1".into())]);
    expect(&event, &[("netns", b.inode().into()), ("owner", Value::Null)]);
    let hint = event["hint"].as_str().unwrap_or_else(|| panic!("no hint: {event}"));
    let program = format!("the XDP program of wire, number {}; see `bpftool prog show id", xdp.number());
    assert!(hint.starts_with(&program), "{hint}");
}

#[test]
fn a_program_behind_the_driver_is_policy_and_named() {
    dropped(XdpMode::Generic, 4660);
}

#[test]
fn a_program_in_the_driver_is_policy_and_named() {
    dropped(XdpMode::Driver, 4661);
}
