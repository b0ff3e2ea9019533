//! The kernel's split of a connection's time: what limits it, held against `ss -ti` in the same moment.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use tracer_tests::agent::run_to_end;
use tracer_tests::busy::after;
use tracer_tests::netns::Netns;
use tracer_tests::traffic::sys::pause;

/// How long a limit may take to show.
const PATIENCE: Duration = Duration::from_secs(20);
/// A share of the time that shows a limit, µs.
const SOME: u64 = 300_000;

/// A connection over a wire, and the namespaces of both ends.
struct Line {
    ns: Netns,
    far: Netns,
    client: TcpStream,
    server: TcpStream,
    workers: Vec<JoinHandle<()>>,
}

fn set(socket: &impl AsRawFd, name: libc::c_int, value: libc::c_int) {
    let (at, len) = ((&raw const value).cast(), size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: an integer, and its length.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, at, len) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

impl Line {
    /// A connection; the server's receive buffer has `rcvbuf` bytes, if any.
    fn new(rcvbuf: Option<libc::c_int>) -> Self {
        let (ns, far) = Netns::pair();
        let listener = far.within(|| TcpListener::bind("10.7.0.2:0")).unwrap();
        if let Some(bytes) = rcvbuf {
            set(&listener, libc::SO_RCVBUF, bytes);
        }
        let at = listener.local_addr().unwrap();
        let client = ns.within(|| TcpStream::connect(at)).unwrap();
        let server = listener.accept().unwrap().0;
        Self { ns, far, client, server, workers: Vec::new() }
    }

    /// The way to the server has this rate.
    fn shaped(rate: &str) -> Self {
        let line = Self::new(None);
        line.ns.run(&["tc", "qdisc", "add", "dev", "wire", "root", "tbf", "rate", rate, "burst", "4k", "limit", "64k"]);
        line
    }

    /// The client paces nothing by itself.
    fn congestion(&self, name: &std::ffi::CStr) {
        let (at, len) = (name.as_ptr().cast(), u32::try_from(name.count_bytes()).unwrap());
        // SAFETY: the bytes of a name, and their number.
        let set =
            unsafe { libc::setsockopt(self.client.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_CONGESTION, at, len) };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }

    fn port(&self) -> u16 {
        self.client.local_addr().unwrap().port()
    }

    /// Runs `work` with both ends until it is done, or the connection ends.
    fn drive(&mut self, work: impl FnOnce(TcpStream, TcpStream) + Send + 'static) {
        let (client, server) = (self.client.try_clone().unwrap(), self.server.try_clone().unwrap());
        self.workers.push(thread::spawn(move || work(client, server)));
    }

    /// The client writes as fast as it may.
    fn write(&mut self) {
        self.drive(|mut client, _| while client.write_all(&[7; 16_384]).is_ok() {});
    }

    /// The server reads as fast as it may.
    fn read(&mut self) {
        self.drive(|_, mut server| while server.read(&mut [0; 16_384]).is_ok_and(|n| n > 0) {});
    }

    /// The client's end, as tracer shows it.
    fn row(&self) -> Value {
        let port = self.port();
        let (status, out, log) =
            run_to_end(&["sockets", "--json", "-t", "--netns", self.ns.name(), "--port", &port.to_string()]);
        assert!(status.success(), "{log}");
        let rows = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.into_iter().find(|row| row["lport"] == port).expect("the connection is there")
    }

    fn ss(&self) -> String {
        self.ns.run(&["ss", "-Htni", &format!("sport = :{}", self.port())])
    }

    /// Waits until the row is as it should be, and compares the figures with those of `ss` just before and after it.
    fn held(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let (before, row, later) = (self.ss(), self.row(), self.ss());
            compare(&before, &row, &later);
            if is_so(&row) {
                return row;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {row}\n{later}");
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Those who write or read end with it.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

/// The number after `key` in the words of `ss`.
fn number(text: &str, key: &str) -> Option<u64> {
    let word = after(text, key)?;
    let digits = word.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// What only grows lies between two looks of `ss`; what is the same in both is the same here.
fn compare(before: &str, row: &Value, later: &str) {
    let at = |key: &str| row[key].as_u64().unwrap_or_else(|| panic!("{key} is a number in {row}"));
    let shown = |text: &str, key: &str| number(text, key).unwrap_or(0);
    for (key, word) in
        [("busy_us", "busy:"), ("rwnd_limited_us", "rwnd_limited:"), ("sndbuf_limited_us", "sndbuf_limited:")]
    {
        let (low, high) = (shown(before, word), shown(later, word));
        assert!((low..=high).contains(&(at(key) / 1000)), "{key}: {before}\n{row}\n{later}");
    }
    for (key, word) in [
        ("retransmitted_bytes", "bytes_retrans:"),
        ("dsack", "dsack_dups:"),
        ("out_of_order", "rcv_ooopack:"),
        ("rx_bytes", "bytes_received:"),
    ] {
        assert!((shown(before, word)..=shown(later, word)).contains(&at(key)), "{key}: {before}\n{row}\n{later}");
    }
    for (key, word, absent) in [
        ("snd_wnd", "snd_wnd:", 0),
        ("notsent_bytes", "notsent:", 0),
        ("backoff", "backoff:", 0),
        ("reordering", "reordering:", 3),
        ("unacked", "unacked:", 0),
    ] {
        let both = [before, later].map(|text| number(text, word).unwrap_or(absent));
        // Between two equal looks it may have been another one while data flows.
        let still = number(before, "bytes_sent:") == number(later, "bytes_sent:")
            && number(before, "bytes_acked:") == number(later, "bytes_acked:");
        assert!(both[0] != both[1] || !still || both[0] == at(key), "{key}: {before}\n{row}\n{later}");
    }
    let limited = &row["limited"];
    let part = |key: &str| limited[key].as_u64().unwrap();
    assert_eq!((part("peer_window_us"), part("send_buffer_us")), (at("rwnd_limited_us"), at("sndbuf_limited_us")));
    assert_eq!(part("network_us") + part("peer_window_us") + part("send_buffer_us"), at("busy_us"), "{row}");
}

fn by(row: &Value) -> &str {
    row["limited"]["by"].as_str().unwrap()
}

#[test]
fn a_peer_that_does_not_read_has_the_small_window() {
    let mut line = Line::new(Some(4096));
    line.write();
    let row = line.held("the peer's window is full", |row| {
        row["rwnd_limited_us"].as_u64() > Some(SOME) && row["backoff"].as_u64() > Some(0)
    });
    assert_eq!(by(&row), "peer_window", "{row}");
    assert!(row["notsent_bytes"].as_u64() > Some(0), "{row}");
    let port = line.port().to_string();
    let (_, out, log) = run_to_end(&["sockets", "-w", "-t", "--netns", line.ns.name(), "--port", &port]);
    assert!(out.contains(" (peer_window "), "{out}{log}");
}

#[test]
fn a_slow_reader_has_the_small_window() {
    let mut line = Line::new(Some(8192));
    line.write();
    line.drive(|_, mut server| {
        while server.read(&mut [0; 2048]).is_ok_and(|n| n > 0) {
            pause(Duration::from_millis(20));
        }
    });
    let row = line.held("the reader is slow", |row| row["rwnd_limited_us"].as_u64() > Some(SOME));
    assert_eq!(by(&row), "peer_window", "{row}");
    assert!(row["snd_wnd"].as_u64() < Some(16_384), "{row}");
}

#[test]
fn a_small_send_buffer_is_the_limit_of_a_long_way() {
    let mut line = Line::shaped("1mbit");
    // One segment in a buffer of the kernel, or a single buffer of many has more than its share of room.
    line.ns.ip(&["link", "set", "wire", "gso_max_segs", "1"]);
    set(&line.client, libc::SO_SNDBUF, 4608);
    line.congestion(c"reno");
    line.write();
    line.read();
    // The first window is the network's.
    line.held("the buffer is small", |row| row["sndbuf_limited_us"].as_u64() > Some(SOME) && by(row) == "send_buffer");
}

#[test]
fn a_slow_way_is_the_networks_limit() {
    let mut line = Line::shaped("2mbit");
    line.write();
    line.read();
    let row = line.held("the way is slow", |row| {
        row["busy_us"].as_u64() > Some(2 * SOME) && row["delivery_rate"].as_u64().is_some()
    });
    assert_eq!(by(&row), "network", "{row}");
    assert!(row["delivery_rate"].as_u64() < Some(1_000_000), "bytes in a second: {row}");
}

#[test]
fn what_is_lost_is_sent_again() {
    let mut line = Line::new(None);
    line.far.nft_rule("input", "meta l4proto tcp tcp flags & syn == 0 numgen random mod 100 < 5 drop");
    line.write();
    line.read();
    let row = line.held("segments are lost", |row| {
        row["retransmitted_bytes"].as_u64() > Some(10_000) && row["busy_us"].as_u64() > Some(SOME)
    });
    assert_eq!(by(&row), "network", "{row}");
    assert!(row["retransmits"].as_u64() > Some(0), "{row}");
}

#[test]
fn an_idle_connection_has_nothing_to_send() {
    let mut line = Line::new(None);
    line.client.write_all(&[7; 1000]).unwrap();
    line.server.read_exact(&mut [0; 1000]).unwrap();
    let row = line.held("it is idle", |row| row["last_sent_ms"].as_u64() > Some(1200));
    assert_eq!(by(&row), "app", "{row}");
    assert_eq!((&row["unacked"], &row["notsent_bytes"]), (&0.into(), &0.into()));
    let (before, row, later) = (line.ss(), line.row(), line.ss());
    for (key, word) in [("last_sent_ms", "lastsnd:"), ("last_received_ms", "lastrcv:"), ("last_ack_ms", "lastack:")] {
        let (low, high) = (number(&before, word).unwrap(), number(&later, word).unwrap());
        assert!((low..=high).contains(&row[key].as_u64().unwrap()), "{key}: {before}\n{row}\n{later}");
    }
    let port = line.port().to_string();
    let (_, out, log) = run_to_end(&["sockets", "-w", "-t", "--netns", line.ns.name(), "--port", &port]);
    assert!(out.contains(" idle "), "{out}{log}");
}

#[test]
fn who_writes_slowly_is_not_limited_by_the_network() {
    let mut line = Line::new(None);
    line.read();
    line.drive(|mut client, _| {
        while client.write_all(&[7; 100]).is_ok() {
            pause(Duration::from_millis(50));
        }
    });
    let began = Instant::now();
    let row = line.held("it writes slowly", |row| row["tx_bytes"].as_u64() > Some(2000));
    let lived = u64::try_from(began.elapsed().as_micros()).unwrap();
    assert!(row["busy_us"].as_u64().unwrap() < lived / 2, "{lived} {row}");
    assert_eq!((&row["rwnd_limited_us"], &row["sndbuf_limited_us"]), (&0.into(), &0.into()));
}

#[test]
fn who_waits_for_a_slow_peer_has_nothing_to_send() {
    let mut line = Line::new(None);
    line.drive(|mut client, _| while client.write_all(&[7]).is_ok() && client.read(&mut [0]).is_ok_and(|n| n > 0) {});
    line.drive(|_, mut server| {
        while server.read(&mut [0]).is_ok_and(|n| n > 0) {
            pause(Duration::from_millis(300));
            if server.write_all(&[7]).is_err() {
                return;
            }
        }
    });
    let row = line
        .held("the peer is slow", |row| row["rx_bytes"].as_u64() > Some(2) && row["last_ack_ms"].as_u64() > Some(150));
    assert_eq!(by(&row), "app", "{row}");
    assert!(row["busy_us"].as_u64() < Some(SOME), "{row}");
}
