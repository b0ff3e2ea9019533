//! Local ports: those that connect() may share, and the findings of `tracer net` about those that it may not.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use serde_json::Value;
use tracer_tests::agent::run_to_end;
use tracer_tests::netns::Netns;

const PORTS: u16 = 60;

/// A namespace with sixty local ports, and ten listeners on others.
fn scarce() -> (Netns, Vec<TcpListener>) {
    let netns = Netns::new();
    netns.sysctl("net/ipv4/ip_local_port_range", "40000 40059");
    let listen = |n: u16| TcpListener::bind(("127.0.0.1", 9001 + n)).expect("it listens");
    let listeners = netns.within(|| (0..10).map(listen).collect());
    (netns, listeners)
}

fn address(port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Binds a socket to an address, with or without a port, and connects it.
fn bound_and_connected(to: u16, no_port: bool) -> io::Result<OwnedFd> {
    let length = |size: usize| libc::socklen_t::try_from(size).expect("a small structure");
    // SAFETY: no memory is involved.
    let fd = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: it was just made and has no other owner.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let fd = socket.as_raw_fd();
    let (on, local, remote) = (libc::c_int::from(no_port), address(0), address(to));
    // SAFETY: each argument is readable for the length that is given.
    unsafe {
        check(libc::setsockopt(
            fd,
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            length(size_of_val(&on)),
        ))?;
        check(libc::bind(fd, (&raw const local).cast(), length(size_of_val(&local))))?;
        check(libc::connect(fd, (&raw const remote).cast(), length(size_of_val(&remote))))?;
    }
    Ok(socket)
}

/// Makes up to `most` of them; returns them, and the error that ended it.
fn many(netns: &Netns, most: u16, no_port: bool) -> (Vec<OwnedFd>, Option<i32>) {
    netns.within(|| {
        let mut sockets = Vec::new();
        for n in 0..most {
            match bound_and_connected(9001 + n % 10, no_port) {
                Ok(socket) => sockets.push(socket),
                Err(error) => return (sockets, error.raw_os_error()),
            }
        }
        (sockets, None)
    })
}

fn net(netns: &Netns) -> Value {
    let (status, out, log) = run_to_end(&["net", "--json", "--netns", netns.name()]);
    assert!(status.success(), "{log}");
    serde_json::from_str(out.lines().next().expect("an object")).expect("JSON")
}

fn of_ports(net: &Value) -> Vec<&Value> {
    net["findings"].as_array().expect("a list").iter().filter(|finding| finding["section"] == "ports").collect()
}

#[test]
fn ports_that_bind_has_taken_are_taken_for_every_destination() {
    let (netns, listeners) = scarce();
    let (sockets, error) = many(&netns, PORTS + 1, false);
    assert_eq!((sockets.len(), error), (usize::from(PORTS), Some(libc::EADDRINUSE)));
    for _ in 0..2 {
        let net = net(&netns);
        let [finding] = &of_ports(&net)[..] else { panic!("{}", net["findings"]) };
        assert_eq!((&finding["severity"], &finding["amount"]), (&"sick".into(), &"60 of 60".into()), "{finding}");
        assert!(finding["meaning"].as_str().is_some_and(|text| text.contains("bind()")), "{finding}");
        assert_eq!((&net["ports"]["in_use"], &net["ports"]["bound"]), (&60.into(), &true.into()));
    }
    // Their ports stay taken: the ends are in TIME_WAIT.
    drop(sockets);
    let (none, error) = many(&netns, 1, true);
    assert_eq!((none.len(), error), (0, Some(libc::EADDRNOTAVAIL)));
    assert_eq!(of_ports(&net(&netns)).len(), 1);
    drop(listeners);
}

#[test]
fn connections_that_share_ports_raise_no_alarm() {
    let (netns, listeners) = scarce();
    let (sockets, error) = many(&netns, 2 * PORTS, true);
    assert_eq!((sockets.len(), error), (usize::from(2 * PORTS), None));
    let net = net(&netns);
    assert!(of_ports(&net).is_empty(), "{}", net["findings"]);
    assert_eq!(net["ports"]["bound"], false);
    drop(listeners);
}

#[test]
fn ports_of_one_destination_are_not_said_to_be_taken_for_all() {
    let (netns, listeners) = scarce();
    let sockets: Vec<OwnedFd> =
        netns.within(|| (0..PORTS).map(|_| bound_and_connected(9001, true).expect("a port")).collect());
    let net = net(&netns);
    let [finding] = &of_ports(&net)[..] else { panic!("{}", net["findings"]) };
    assert_eq!((&finding["what"], &net["ports"]["bound"]), (&"to 127.0.0.1:9001".into(), &false.into()), "{finding}");
    drop((sockets, listeners));
}
