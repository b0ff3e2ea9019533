//! Helpers for the tests of drops: waiting for one, checking it, causing it.

use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::agent::{Agent, Ended, tracer_program};
use crate::netns::Netns;
use crate::reason;
use crate::traffic::sys;

/// Longer than any packet needs; the connection attempts of these tests get no answer.
pub const ATTEMPT: Duration = Duration::from_millis(50);

/// `tracer drops --json ARGS`, once it is ready.
#[must_use]
pub fn start(args: &[&str]) -> Agent {
    let mut command = Command::new(tracer_program());
    let agent = Agent::start(command.args(["drops", "--json"]).args(args), None);
    agent.await_ready();
    agent
}

/// The rows of a run.
#[must_use]
pub fn rows(ended: &Ended) -> Vec<&Value> {
    ended.stream.kind("drop").collect()
}

/// The number of packets in a row.
///
/// # Panics
/// If the row lacks it.
#[must_use]
pub fn count(row: &Value) -> u64 {
    row["count"].as_u64().unwrap_or_else(|| panic!("no count: {row}"))
}

/// The first drop in `netns` with this destination port and this kernel's reason for `name`.
pub fn drop_in(agent: &Agent, netns: &Netns, name: &str, port: u16) -> Value {
    agent.wait_for(&format!("drop by {name} of a packet to port {port} in {}", netns.inode()), |event| {
        event["event"] == "drop" && event["netns"] == netns.inode() && reason::is(event, name) && event["dport"] == port
    })
}

/// The most new drops with an event of their own in a second.
pub const TOLD_AT_MOST: u64 = 20_000;

/// The functions that drop for a rule: nf_tables itself, or its caller before nf_tables did so (6.7).
pub const NETFILTER: [&str; 2] = ["nft_do_chain", "nf_hook_slow"];

/// Whether a rule's verdict was executed here: in the rules' own code, or in its caller.
#[must_use]
pub fn is_of_a_rule(symbol: &Value) -> bool {
    let function = symbol.as_str().and_then(|symbol| symbol.split_once("+0x"));
    function.is_some_and(|(function, _)| NETFILTER.contains(&function))
}

/// Asserts that each key of `event` has this value.
///
/// # Panics
/// If one has another.
pub fn expect(event: &Value, keys: &[(&str, Value)]) {
    for (key, value) in keys {
        assert_eq!(&event[*key], value, "{key} of {event}");
    }
}

/// Asserts that this process is the owner.
///
/// # Panics
/// If another one is.
pub fn is_ours(event: &Value) {
    assert_eq!(event["owner"]["pid"], std::process::id(), "{event}");
}

/// Asserts that the call site is in one of these functions: which one depends on the kernel, and its compiler may have
/// split a part off a function (`.constprop.0`).
///
/// # Panics
/// If it is elsewhere, or has no address.
pub fn symbol_is(event: &Value, functions: &[&str]) {
    let symbol = event["symbol"].as_str().unwrap_or_else(|| panic!("no symbol: {event}"));
    let (name, offset) = symbol.split_once("+0x").unwrap_or_else(|| panic!("no offset: {symbol}"));
    let name = name.split('.').next().unwrap_or_default();
    assert!(functions.contains(&name), "{event}");
    assert!(u64::from_str_radix(offset, 16).is_ok(), "{symbol}");
    assert!(event["location"].as_str().is_some_and(|at| at.starts_with("0xffff")), "{event}");
}

/// The first drop in `netns` with this destination port, for whatever reason.
pub fn any_drop_in(agent: &Agent, netns: &Netns, port: u16) -> Value {
    agent.wait_for(&format!("drop of a packet to port {port} in {}", netns.inode()), |event| {
        event["event"] == "drop" && event["netns"] == netns.inode() && event["dport"] == port
    })
}

/// Tries to connect for a moment.
pub fn attempt(from: &Netns, to: SocketAddr) {
    from.within(|| drop(TcpStream::connect_timeout(&to, ATTEMPT)));
}

/// Parses an address.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// The addresses of the namespaces of [`Netns::pair`], with a port for the second.
#[must_use]
pub fn peers(v6: bool, port: u16) -> (IpAddr, SocketAddr) {
    if v6 {
        ("fd07::1".parse().expect("an address"), SocketAddr::new("fd07::2".parse().expect("an address"), port))
    } else {
        ([10, 7, 0, 1].into(), SocketAddr::from(([10, 7, 0, 2], port)))
    }
}

/// Three namespaces in a row; the one in the middle forwards: `10.8.1.1` to `10.8.2.1`.
pub struct Row {
    /// `10.8.1.1`, `fd08:1::1`.
    pub left: Netns,
    /// Forwards.
    pub middle: Netns,
    /// `10.8.2.1`, `fd08:2::1`.
    pub right: Netns,
}

impl Row {
    /// Makes the namespaces.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a scene, not a value")]
    pub fn new() -> Self {
        let (left, middle, right) = (Netns::new(), Netns::new(), Netns::new());
        for (n, end) in [(1, &left), (2, &right)] {
            let device = format!("wire{n}");
            let peer = ["peer", "name", &device, "netns", middle.name()];
            end.ip(&[&["link", "add", "wire", "type", "veth"][..], &peer[..]].concat());
            for (netns, name, host) in [(end, "wire", 1), (&middle, &*device, 254)] {
                netns.sysctl(&format!("net/ipv6/conf/{name}/addr_gen_mode"), "1");
                netns.ip(&["link", "set", name, "up"]);
                netns.ip(&["addr", "add", &format!("10.8.{n}.{host}/24"), "dev", name]);
                netns.ip(&["addr", "add", &format!("fd08:{n}::{host}/64"), "dev", name, "nodad"]);
            }
            end.ip(&["route", "add", "default", "via", &format!("10.8.{n}.254")]);
            end.ip(&["route", "add", "default", "via", &format!("fd08:{n}::254")]);
        }
        middle.sysctl("net/ipv4/ip_forward", "1");
        middle.sysctl("net/ipv6/conf/all/forwarding", "1");
        Self { left, middle, right }
    }
}

/// Sends one datagram from any port; returns that port.
///
/// # Panics
/// If no socket can be made.
pub fn datagram(from: &Netns, to: SocketAddr, ttl: Option<u32>) -> u16 {
    from.within(|| {
        let any: SocketAddr = if to.is_ipv6() { address("[::]:0") } else { address("0.0.0.0:0") };
        let socket = UdpSocket::bind(any).expect("it binds");
        if let (Some(ttl), false) = (ttl, to.is_ipv6()) {
            socket.set_ttl(ttl).expect("the TTL is set");
        }
        if let (Some(ttl), true) = (ttl, to.is_ipv6()) {
            let hops = ttl as libc::c_int;
            sys::set_option(socket.as_raw_fd(), libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, hops).expect("it is set");
        }
        // The kernel may report an earlier error of the same destination here: the datagram is sent by then.
        let _ = socket.send_to(b"0123456789", to);
        socket.local_addr().expect("it has an address").port()
    })
}
