//! What held a sender back: `limited` of a close, held against the kernel's own answer (`TCP_INFO`) just before it.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use serde_json::Value;
use tracer_tests::agent::Agent;
use tracer_tests::netns::Netns;

/// How long each limit has to hold a connection back.
const ENOUGH_US: u64 = 400_000;
/// No case takes longer.
const DEADLINE: Duration = Duration::from_secs(30);

/// Of `struct tcp_info` (include/uapi/linux/tcp.h).
#[derive(Clone, Copy, Debug)]
struct TcpInfo([u8; 232]);

impl TcpInfo {
    fn of(stream: &TcpStream) -> Self {
        let (mut info, mut len) = ([0_u8; 232], 232);
        // SAFETY: the buffer has `len` bytes.
        let status = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        assert_eq!(status, 0, "the kernel answers");
        Self(info)
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.0[at..at + 8].try_into().expect("eight bytes"))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }

    /// Network, peer's window and send buffer.
    fn split(&self) -> [u64; 3] {
        let [busy, window, buffer] = [168, 176, 184].map(|at| self.u64(at));
        [busy - window - buffer, window, buffer]
    }

    /// Retransmitted bytes, duplicates that the peer reported, segments out of order.
    fn trouble(&self) -> [u64; 3] {
        [self.u64(208), self.u32(216).into(), self.u32(224).into()]
    }
}

/// The kernel's answer, and the time from it to the end, µs: a FIN under way counts, too.
struct Asked {
    info: TcpInfo,
    since_us: u64,
}

struct Scene {
    ns: Netns,
    agent: Agent,
    client: TcpStream,
    server: TcpStream,
    began: Instant,
}

impl Scene {
    fn new(ns: Netns, receive_buffer: Option<i32>) -> Self {
        let listener = ns.within(|| TcpListener::bind("127.0.0.1:0").expect("it listens"));
        if let Some(size) = receive_buffer {
            set(&listener, libc::SO_RCVBUF, size);
        }
        let agent = Agent::live(&["--netns", ns.name()]);
        let to = listener.local_addr().expect("an address");
        let client = ns.within(|| TcpStream::connect(to).expect("it connects"));
        let began = Instant::now();
        let (server, _) = listener.accept().expect("it accepts");
        Self { ns, agent, client, server, began }
    }

    /// Closes the client; returns its `close`, the kernel's answer before, and how long it lived until then.
    fn close(self) -> (Value, Asked, u64) {
        let Self { ns, agent, client, mut server, began } = self;
        let (asked, info) = (Instant::now(), TcpInfo::of(&client));
        let lived = began.elapsed().as_micros().try_into().expect("a short time");
        drop(client);
        server.set_nonblocking(false).expect("it may be");
        server.set_read_timeout(None).expect("no time limit");
        let _ = server.read_to_end(&mut Vec::new());
        drop(server);
        let since_us = asked.elapsed().as_micros().try_into().expect("a short time");
        let is = |event: &Value| event["event"] == "close" && event["role"] == "client";
        let close = agent.wait_for("the close of the client", is);
        let _ = agent.stop();
        drop(ns);
        (close, Asked { info, since_us }, lived)
    }
}

fn set(socket: &impl std::os::fd::AsRawFd, name: i32, value: i32) {
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the value has `len` bytes.
    let status =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, (&raw const value).cast(), len) };
    assert_eq!(status, 0, "the kernel takes the option");
}

/// Sends until `is_enough`, while the other end reads as `read` does.
fn sends_until(scene: &mut Scene, is_enough: impl Fn(&TcpInfo) -> bool, mut read: impl FnMut(&mut TcpStream)) {
    scene.client.set_nonblocking(true).expect("it may be");
    while !is_enough(&TcpInfo::of(&scene.client)) {
        assert!(scene.began.elapsed() < DEADLINE, "{:?}", TcpInfo::of(&scene.client).split());
        let _ = scene.client.write(&[7; 16_384]);
        read(&mut scene.server);
    }
}

/// Takes what has come, or comes in the next moment.
fn takes_all(server: &mut TcpStream) {
    server.set_read_timeout(Some(Duration::from_millis(2))).expect("a time limit");
    let _ = server.read(&mut [0; 65_536]);
}

/// Takes everything; returns once all of it is acknowledged.
fn drains(scene: &mut Scene) {
    while TcpInfo::of(&scene.client).u32(24) != 0 || TcpInfo::of(&scene.client).u32(144) != 0 {
        assert!(scene.began.elapsed() < DEADLINE, "it is acknowledged");
        takes_all(&mut scene.server);
    }
}

/// Checks the split of `close` against the kernel's: to two of its ticks, which have 10 ms at the most, and 1 %.
fn is_the_kernels(close: &Value, asked: &Asked, by: &str) {
    let Asked { info, since_us } = asked;
    let limited = &close["limited"];
    for (name, kernel) in ["network_us", "peer_window_us", "send_buffer_us"].into_iter().zip(info.split()) {
        let said = limited[name].as_u64().expect("a time");
        let within = kernel.saturating_sub(20_000 + kernel / 100)..=kernel + kernel / 100 + 20_000 + since_us;
        assert!(within.contains(&said), "{name}: {kernel} in the kernel, {close}");
    }
    assert_eq!(limited["by"], by, "{close}");
    let [again, duplicates, out_of_order] = info.trouble();
    assert_eq!(close["retransmitted_bytes"], again, "{close}");
    assert_eq!(close["out_of_order"], out_of_order, "{close}");
    assert_eq!(close["dsack"].as_u64().unwrap_or(0), duplicates, "{close}");
}

/// A namespace whose loopback passes 8 Mbit a second.
fn shaped() -> Netns {
    let ns = Netns::new();
    // A packet must fit into the bucket.
    ns.ip(&["link", "set", "lo", "mtu", "1500"]);
    let shape = "tc qdisc add dev lo root tbf rate 8mbit burst 32kb latency 60ms";
    ns.run(&shape.split(' ').collect::<Vec<_>>());
    ns
}

#[test]
fn by_the_window_of_a_peer_that_does_not_read() {
    let mut scene = Scene::new(Netns::new(), Some(8192));
    // While the interval runs, the kernel counts it: so does the close of a connection that ends in the middle of it.
    sends_until(&mut scene, |info| info.split()[1] > ENOUGH_US, |_| {});
    drains(&mut scene);
    let (close, asked, _) = scene.close();
    is_the_kernels(&close, &asked, "peer_window");
    assert!(close["delivery_rate"].as_u64().is_some_and(|rate| rate > 0), "{close}");
}

#[test]
fn an_interval_that_still_runs_counts() {
    let mut scene = Scene::new(Netns::new(), Some(8192));
    sends_until(&mut scene, |info| info.split()[1] > ENOUGH_US, |_| {});
    // A reset ends it at once.
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let len = size_of::<libc::linger>() as libc::socklen_t;
    let at = (&raw const linger).cast();
    // SAFETY: the value has `len` bytes.
    assert_eq!(unsafe { libc::setsockopt(scene.client.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, at, len) }, 0);
    let (close, asked, _) = scene.close();
    assert_eq!(close["verdict"], "reset_local", "{close}");
    let (said, kernel) = (close["limited"]["peer_window_us"].as_u64().expect("a time"), asked.info.split()[1]);
    let within = kernel - kernel / 100 - 20_000..=kernel + kernel / 100 + 20_000 + asked.since_us;
    assert!(within.contains(&said), "{kernel} in the kernel, {close}");
}

#[test]
fn by_the_application_that_has_nothing_to_send() {
    let mut scene = Scene::new(Netns::new(), None);
    scene.client.write_all(b"hello").expect("it sends");
    while scene.began.elapsed() < Duration::from_micros(ENOUGH_US) {
        scene.server.set_read_timeout(Some(Duration::from_millis(50))).expect("a time limit");
        let _ = scene.server.read(&mut [0; 16]);
    }
    let (close, asked, lived) = scene.close();
    is_the_kernels(&close, &asked, "app");
    let app = close["limited"]["app_us"].as_u64().expect("a time");
    assert!(app + 50_000 >= lived && app <= close["duration_us"].as_u64().expect("a time"), "{lived}: {close}");
}

#[test]
fn by_a_slow_network() {
    let mut scene = Scene::new(shaped(), None);
    sends_until(&mut scene, |info| info.split()[0] > ENOUGH_US, takes_all);
    drains(&mut scene);
    let (close, asked, _) = scene.close();
    is_the_kernels(&close, &asked, "network");
}

#[test]
fn one_that_was_never_established_has_none() {
    let ns = Netns::new();
    let agent = Agent::live(&["--netns", ns.name()]);
    ns.within(|| TcpStream::connect("127.0.0.1:9").expect_err("nothing listens"));
    let close = agent.wait_for("the close", |event| event["event"] == "close");
    let _ = agent.stop();
    assert!(close["limited"].is_null() && close["delivery_rate"].is_null(), "{close}");
}
