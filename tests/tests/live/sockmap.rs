//! Bytes that the kernel's counters leave out.

use std::io::{Error, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::bpf::Sockmap;
use tracer_tests::drops::expect;
use tracer_tests::netns::Netns;
use tracer_tests::skip::{lacks, skip};

/// Both ends of a connection.
fn connection(netns: &Netns, port: u16) -> (TcpStream, TcpStream) {
    netns.within(|| {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("it listens");
        let client = TcpStream::connect(("127.0.0.1", port)).expect("it connects");
        (client, listener.accept().expect("a connection").0)
    })
}

/// Sends `count` bytes, and receives them at the other end.
fn send(from: &mut TcpStream, to: &mut TcpStream, count: usize) {
    std::thread::scope(|scope| {
        scope.spawn(|| from.write_all(&vec![7; count]).expect("it is sent"));
        to.read_exact(&mut vec![0; count]).expect("it arrives");
    });
}

fn closes(agent: &Agent, port: u16) -> [Value; 2] {
    [("client", "rport"), ("server", "lport")].map(|(role, key)| {
        agent.wait_for(&format!("the close of the {role} of {port}"), |event| {
            event["event"] == "close" && event["role"] == role && event[key] == port
        })
    })
}

#[test]
fn bytes_that_pass_a_sockmap_are_not_known_and_those_beside_it_are() {
    let map = match Sockmap::new() {
        Ok(map) => map,
        Err(reason) => return skip(&reason),
    };
    let netns = Netns::new();
    let agent = Agent::live(&["--netns", netns.name()]);
    let (mut client, mut server) = connection(&netns, 4050);
    let (mut other, mut end) = connection(&netns, 4051);
    send(&mut client, &mut server, 100);
    map.put(0, &server);
    map.put(1, &client);
    // The kernel's counters leave these bytes out.
    send(&mut client, &mut server, 100_000);
    send(&mut other, &mut end, 2000);
    drop((client, server));
    other.shutdown(Shutdown::Write).expect("it ends");
    drop((end, other));
    for close in closes(&agent, 4050) {
        expect(&close, &[("tx_bytes", Value::Null), ("rx_bytes", Value::Null), ("unanswered", Value::Null)]);
        expect(&close, &[("sockmap", true.into()), ("incomplete", true.into())]);
    }
    let [client, server] = closes(&agent, 4051);
    expect(&client, &[("tx_bytes", 2000.into()), ("sockmap", Value::Null), ("incomplete", Value::Null)]);
    expect(&server, &[("rx_bytes", 2000.into()), ("sockmap", Value::Null), ("incomplete", Value::Null)]);
}

/// The socket has left the map before it closes.
#[test]
fn one_that_was_in_a_sockmap_for_a_while_has_bytes_that_are_not_known() {
    let map = match Sockmap::new() {
        Ok(map) => map,
        Err(reason) => return skip(&reason),
    };
    let netns = Netns::new();
    let agent = Agent::live(&["--netns", netns.name()]);
    let (mut client, mut server) = connection(&netns, 4052);
    map.put(0, &server);
    map.put(1, &client);
    send(&mut client, &mut server, 5000);
    // The kernel frees the map a moment later; then nothing shows that the socket was in one.
    drop(map);
    drop((client, server));
    for close in closes(&agent, 4052) {
        expect(&close, &[("tx_bytes", Value::Null), ("sockmap", true.into())]);
    }
}

/// TLS in the kernel uses another field of the socket: the counters include its bytes.
#[test]
fn tls_in_the_kernel_is_no_sockmap() {
    let netns = Netns::new();
    let agent = Agent::live(&["--netns", netns.name()]);
    let (mut client, mut server) = connection(&netns, 4053);
    // SAFETY: the option is a string of this length.
    let set =
        unsafe { libc::setsockopt(client.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_ULP, c"tls".as_ptr().cast(), 3) };
    if set != 0 {
        let error = Error::last_os_error();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "the kernel has no such protocol: {error}");
        return skip(&lacks("kernel TLS", error));
    }
    send(&mut client, &mut server, 321);
    drop((client, server));
    let [client, server] = closes(&agent, 4053);
    expect(&client, &[("tx_bytes", 321.into()), ("sockmap", Value::Null)]);
    expect(&server, &[("rx_bytes", 321.into()), ("sockmap", Value::Null)]);
}
