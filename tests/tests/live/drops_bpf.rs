//! Packets that a BPF program drops: XDP behind the driver and in it, tcx, and the programs of control groups.

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::bpf::{At, Dropping, NAME, Of};
use tracer_tests::cgroup::Cgroup;
use tracer_tests::drops::{address, attempt, drop_in, expect};
use tracer_tests::generator::{Actor, Listener};
use tracer_tests::netns::Netns;
use tracer_tests::reason;
use tracer_tests::skip::skip;

fn hint(event: &Value) -> &str {
    event["hint"].as_str().unwrap_or_else(|| panic!("no hint: {event}"))
}

/// Two namespaces whose first one knows the hardware address of the other: an ARP request would be dropped, too.
fn pair() -> (Netns, Netns) {
    let (a, b) = Netns::pair();
    let neighbour = b.run(&["cat", "/sys/class/net/wire/address"]);
    a.ip(&["neigh", "replace", "10.7.0.2", "lladdr", neighbour.trim(), "dev", "wire"]);
    (a, b)
}

/// The drop of a SYN to `port` in `b`, the program's number and name in its hint.
fn by_xdp(at: At, port: u16) {
    let (a, b) = pair();
    let program = match Dropping::at(&b, "wire", at) {
        Ok(program) => program,
        Err(reason) => return skip(&reason),
    };
    let agent = Agent::live(&["--netns", b.name(), "--event", "drop"]);
    attempt(&a, address(&format!("10.7.0.2:{port}")));
    let event = agent.wait_for("drop by the program", |event| event["event"] == "drop" && event["dport"] == port);
    expect(&event, &[("class", "policy".into()), ("direction", "in".into()), ("iface", "wire".into())]);
    expect(&event, &[("protocol", "tcp".into()), ("tcp_flags", "S".into()), ("saddr", "10.7.0.1".into())]);
    expect(&event, &[("netns", b.inode().into()), ("owner", Value::Null)]);
    let begin = format!("the XDP program of wire, number {} ({NAME}); see `bpftool prog show id", program.number());
    assert!(hint(&event).starts_with(&begin), "{event}");
}

#[test]
fn an_xdp_program_behind_the_driver_is_policy_and_named() {
    by_xdp(At::XdpGeneric, 4660);
}

#[test]
fn an_xdp_program_in_the_driver_is_policy_and_named() {
    by_xdp(At::XdpDriver, 4661);
}

/// The only program on the way is named; beside filters of tc it may be either.
fn by_tcx(at: At, hook: &str, name: &str, port: u16) {
    let (a, b) = pair();
    let there = if at == At::TcxIngress { &b } else { &a };
    let program = match Dropping::at(there, "wire", at) {
        Ok(program) => program,
        Err(reason) => return skip(&reason),
    };
    let number = program.number();
    let agent = Agent::live(&["--netns", there.name(), "--event", "drop"]);
    attempt(&a, address(&format!("10.7.0.2:{port}")));
    let event = drop_in(&agent, there, name, port);
    expect(&event, &[("class", "policy".into()), ("iface", "wire".into())]);
    let named =
        format!("the tcx program on {hook} of wire, number {number} ({NAME}); see `bpftool prog show id {number}`");
    assert_eq!(hint(&event), named, "{event}");

    there.run(&["tc", "qdisc", "add", "dev", "wire", "clsact"]);
    attempt(&a, address(&format!("10.7.0.2:{}", port + 1)));
    let event = drop_in(&agent, there, name, port + 1);
    let either = format!(
        "the tcx program on {hook} of wire, number {number} ({NAME}), or a filter of tc (`tc -s filter show dev wire \
         {hook}`); see `bpftool net show dev wire`"
    );
    assert_eq!(hint(&event), either, "{event}");
}

#[test]
fn a_tcx_program_on_ingress_is_named() {
    by_tcx(At::TcxIngress, "ingress", "TC_INGRESS", 4662);
}

#[test]
fn a_tcx_program_on_egress_is_named() {
    by_tcx(At::TcxEgress, "egress", "TC_EGRESS", 4664);
}

/// A filter of tc (here a classic program that returns `TC_ACT_SHOT`) is no tcx program, and the hint leads to it
/// alone.
#[test]
fn a_filter_of_tc_is_no_program() {
    let (a, b) = pair();
    b.run(&["tc", "qdisc", "add", "dev", "wire", "clsact"]);
    b.run(&["tc", "filter", "add", "dev", "wire", "ingress", "protocol", "ip", "bpf", "da", "bytecode", "1,6 0 0 2"]);
    let other = match Dropping::at(&b, "wire", At::TcxEgress) {
        Ok(other) => other,
        Err(reason) => return skip(&reason),
    };
    let agent = Agent::live(&["--netns", b.name(), "--event", "drop"]);
    attempt(&a, address("10.7.0.2:4666"));
    let event = drop_in(&agent, &b, "TC_INGRESS", 4666);
    assert_eq!(hint(&event), "a filter of tc on ingress of wire; see `tc -s filter show dev wire ingress`", "{event}");
    drop(other);
}

/// A client in a control group whose packets a program drops. Where a drop has no reason, nothing says that the
/// program dropped it.
fn by_group(of: Of, hook: &str, name: &str) {
    let group = match Cgroup::new("denied") {
        Ok(group) => group,
        Err(reason) => return skip(&reason),
    };
    let program = match Dropping::of(group.directory(), of) {
        Ok(program) => program,
        Err(reason) => return skip(&reason),
    };
    if !reason::any() {
        return skip(&tracer_tests::skip::lacks("drop reasons", "the kernel names no reasons"));
    }
    let (a, b) = Netns::pair();
    let client = Actor::start(&a);
    group.take(client.process.pid);
    let server = Actor::start(&b);
    let listener = Listener::open(&server, &b, "10.7.0.2:0");
    let agent = Agent::live(&["--netns", a.name(), "--event", "drop"]);
    let fd = client.nonblocking_socket(4);
    client.connect(fd, listener.addr);
    let number = program.number();
    let event = agent.wait_for("drop by the program", |event| {
        event["event"] == "drop" && event["netns"] == a.inode() && reason::is(event, name)
    });
    expect(&event, &[("class", "policy".into())]);
    assert_eq!(event["owner"]["pid"], client.process.pid, "{event}");
    let of = format!("probably the BPF program ({hook}) of control group {}, number {number} ({NAME})", group.path());
    assert!(hint(&event).contains(&of), "{of}: {event}");
}

#[test]
fn a_program_of_a_control_group_on_egress_is_named() {
    by_group(Of::Egress, "egress", "BPF_CGROUP_EGRESS");
}

#[test]
fn a_program_of_a_control_group_on_ingress_is_named() {
    by_group(Of::Ingress, "ingress", "SOCKET_FILTER");
}
