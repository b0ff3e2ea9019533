//! `tracer net` against the tools that it replaces: `nstat`, `ip`, `ss`, `conntrack`, in namespaces of
//! the test. What may move meanwhile is read before and after, and must be between.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tracer_tests::agent::{run_to_end, tracer_program};
use tracer_tests::generator::{Actor, Listener, Pair};
use tracer_tests::netns::{Netns, command, scratch};
use tracer_tests::skip::{missing_tool, skip};
use tracer_tests::traffic::sys;

/// A client and a server in two namespaces on a wire, and what went between them: IPv4 and IPv6
/// connections, one refused, a neighbour that does not answer, datagrams that nobody wanted.
struct Network {
    client_ns: Netns,
    server_ns: Netns,
    client: Actor,
    server: Actor,
}

impl Network {
    fn new() -> Self {
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

    fn busy(&self) {
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
        self.client_ns.within(|| {
            let udp = UdpSocket::bind("0.0.0.0:0").expect("a UDP socket is bound");
            for _ in 0..4 {
                udp.send_to(b"anybody?", "10.7.0.2:9").expect("a datagram is sent");
            }
        });
    }
}

/// The object that `tracer net --json ARGS` prints.
fn net(args: &[&str]) -> Value {
    let (status, out, log) = run_to_end(&[&["net", "--json"], args].concat());
    assert!(status.success(), "{log}");
    assert_eq!(out.lines().count(), 1, "{out}");
    serde_json::from_str(&out).expect("an object")
}

/// A command in a namespace; its output.
fn inside(netns: &Netns, words: &[&str]) -> String {
    command("ip", &[&["netns", "exec", netns.name()], words].concat())
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text.trim()).expect("JSON")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// Every number of `before` and `after` that has a name, and ours between.
fn between(what: &str, before: &Value, ours: &Value, after: &Value) {
    let number = |value: &Value| value.as_i64().unwrap_or_else(|| panic!("{what}: {value} is a number"));
    let (low, our, high) = (number(before), number(ours), number(after));
    assert!((low.min(high)..=low.max(high)).contains(&our), "{what}: {our} is not between {low} and {high}");
}

#[test]
fn counters_agree_with_nstat() {
    let network = Network::new();
    network.busy();
    for netns in [&network.client_ns, &network.server_ns] {
        let nstat = || json_of(&inside(netns, &["nstat", "-asz", "-j"]))["kernel"].clone();
        let before = nstat();
        let ours = net(&["--netns", netns.name()]);
        let after = nstat();
        let before = before.as_object().expect("an object");
        assert!(before.len() > 200, "nstat has {} counters", before.len());
        for (name, count) in before {
            between(name, count, &ours["counters"][name], &after[name]);
        }
        assert!(ours["counters"]["TcpInSegs"].as_u64() > Some(10), "there was traffic");
        assert!(ours["counters"]["Ip6InReceives"].as_u64() > Some(10), "of IPv6, too");
    }
    assert!(net(&["--netns", network.server_ns.name()])["counters"]["UdpNoPorts"].as_u64() >= Some(4));
}

#[test]
fn interfaces_agree_with_ip() {
    let network = Network::new();
    network.busy();
    // A device that is down and one that has no addresses.
    network.client_ns.ip(&["link", "add", "spare", "type", "veth", "peer", "name", "other"]);
    network.client_ns.ip(&["link", "set", "spare", "up"]);
    for netns in [&network.client_ns, &network.server_ns] {
        let links = || json_of(&netns.ip(&["-s", "-s", "-j", "link"]));
        let (before, ours, after) = (links(), net(&["--netns", netns.name()]), links());
        let addresses = json_of(&netns.ip(&["-j", "addr"]));
        assert_eq!(list(&before).len(), list(&ours["interfaces"]).len());
        for ((low, our), high) in list(&before).iter().zip(list(&ours["interfaces"])).zip(list(&after)) {
            assert_eq!(low["ifname"], our["name"]);
            assert_eq!(low["ifindex"], our["ifindex"]);
            assert_eq!(low["mtu"], our["mtu"]);
            assert_eq!(text(&low["operstate"]).to_lowercase(), text(&our["operstate"]));
            assert_eq!(list(&low["flags"]).contains(&json!("UP")), our["up"] == json!(true), "{our}");
            for (key, side, name) in [
                ("rx_bytes", "rx", "bytes"),
                ("rx_packets", "rx", "packets"),
                ("rx_errors", "rx", "errors"),
                ("multicast", "rx", "multicast"),
                ("tx_bytes", "tx", "bytes"),
                ("tx_packets", "tx", "packets"),
                ("tx_errors", "tx", "errors"),
                ("tx_dropped", "tx", "dropped"),
                ("collisions", "tx", "collisions"),
                ("rx_fifo", "rx", "fifo_errors"),
                ("tx_fifo", "tx", "fifo_errors"),
            ] {
                let of = |link: &Value| link["stats64"][side][name].clone();
                let absent = of(low).is_null();
                assert!(!absent || name == "fifo_errors", "{low}");
                if !absent {
                    between(key, &of(low), &our[key], &of(high));
                }
            }
            // The file has two of ip's numbers in one.
            let dropped = |link: &Value| {
                let rx = &link["stats64"]["rx"];
                json!(rx["dropped"].as_u64().unwrap_or(0) + rx["missed_errors"].as_u64().unwrap_or(0))
            };
            between("rx_dropped", &dropped(low), &our["rx_dropped"], &dropped(high));
            let theirs: BTreeSet<String> = list(&addresses)
                .iter()
                .filter(|link| link["ifname"] == our["name"])
                .flat_map(|link| list(&link["addr_info"]))
                .map(|address| format!("{}/{}", text(&address["local"]), address["prefixlen"]))
                .collect();
            let ours: BTreeSet<String> =
                list(&our["addresses"]).iter().map(|address| text(address).to_owned()).collect();
            assert_eq!(theirs, ours);
        }
    }
}

#[test]
fn routes_agree_with_ip() {
    let network = Network::new();
    for netns in [&network.client_ns, &network.server_ns] {
        let ours = net(&["--netns", netns.name()]);
        for (family, flag, width) in [(4, "-4", 32), (6, "-6", 128)] {
            let routes = json_of(&netns.ip(&[flag, "-j", "route"]));
            let theirs: BTreeSet<String> = list(&routes)
                .iter()
                .map(|route| {
                    let everything = if family == 4 { "0.0.0.0" } else { "::" };
                    let to = match text(&route["dst"]) {
                        "default" => format!("{everything}/0"),
                        to if to.contains('/') => to.to_owned(),
                        to => format!("{to}/{width}"),
                    };
                    let metric = route["metric"].as_u64().unwrap_or(0);
                    format!("{to} via {} dev {} metric {metric}", text(&route["gateway"]), text(&route["dev"]))
                })
                .collect();
            let ours: BTreeSet<String> = list(&ours["routes"])
                .iter()
                .filter(|route| route["family"] == json!(family))
                .map(|route| {
                    let (to, via, dev) = (&route["destination"], &route["gateway"], &route["device"]);
                    format!("{} via {} dev {} metric {}", text(to), text(via), text(dev), route["metric"])
                })
                .collect();
            assert_eq!(theirs, ours, "IPv{family}");
        }
    }
    assert!(list(&net(&["--netns", network.client_ns.name()])["routes"]).len() >= 9);
}

#[test]
fn neighbours_agree_with_ip() {
    let network = Network::new();
    network.busy();
    let read = || -> BTreeMap<String, String> {
        list(&json_of(&network.client_ns.ip(&["-j", "neigh"])))
            .iter()
            .map(|n| {
                let known = format!("{} {} {}", text(&n["dst"]), text(&n["dev"]), text(&n["lladdr"]));
                (known, text(&n["state"][0]).to_owned())
            })
            .collect()
    };
    let (before, ours, after) = (read(), net(&["--netns", network.client_ns.name()]), read());
    let shown = list(&ours["neighbours"]);
    assert_eq!(shown.len(), before.len());
    for n in shown {
        let known = format!("{} {} {}", text(&n["address"]), text(&n["device"]), text(&n["lladdr"]));
        // States grow old on their own.
        let states = [before.get(&known), after.get(&known)].map(|state| state.map(String::as_str));
        assert!(states.contains(&n["state"].as_str()), "{n}: {states:?}");
    }
    let state = |address: &str| shown.iter().find(|n| n["address"] == json!(address)).map(|n| text(&n["state"]));
    assert_eq!((state("10.7.0.99"), state("10.7.0.66")), (Some("FAILED"), Some("PERMANENT")));
    let failed = list(&ours["findings"]).iter().find(|f| f["what"] == json!("10.7.0.99")).expect("it is found");
    assert_eq!((text(&failed["section"]), text(&failed["amount"])), ("neighbours", "FAILED"));
}

#[test]
fn sockets_and_queues_agree_with_ss() {
    let network = Network::new();
    let listener = Listener::open_with(&network.server, &network.server_ns, "10.7.0.2:80", 3, 0, |_| ());
    let six = Listener::open_with(&network.server, &network.server_ns, "[::]:81", 100, 0, |_| ());
    let pairs = [
        Pair::open(&network.client, &network.client_ns, &listener),
        Pair::open_to(&network.client, &network.client_ns, &six, "[fd07::2]:81".parse().expect("an address")),
    ];
    // One that the server has closed, and the client has not.
    network.server.on("close", pairs[1].server_fd);
    network.client.await_state(pairs[1].client_fd, "CLOSE_WAIT");
    // The queue is filled: nobody accepts. The kernel takes one more than the limit.
    for _ in 0..4 {
        let fd = network.client.socket(4);
        assert_eq!(network.client.connect(fd, listener.addr).errno(), None);
    }
    for netns in [&network.server_ns, &network.client_ns] {
        let ss = || inside(netns, &["ss", "-tanH", "-O"]);
        let (before, ours) = (ss(), net(&["--netns", netns.name()]));
        assert_eq!(before, ss(), "the namespace is quiet");
        let mut theirs: BTreeMap<String, u64> = BTreeMap::new();
        let mut queues = BTreeSet::new();
        for line in before.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let state = match words[0] {
                "ESTAB" => "ESTABLISHED".to_owned(),
                state => state.replace("FIN-WAIT-", "FIN_WAIT").replace('-', "_"),
            };
            if state == "LISTEN" {
                queues.insert(format!("{} of {} at {}", words[1], words[2], words[3].replace("*:", "[::]:")));
            }
            *theirs.entry(state).or_default() += 1;
        }
        let states = ours["sockets"]["states"].as_object().expect("an object");
        let shown: BTreeMap<String, u64> =
            states.iter().map(|(state, count)| (state.clone(), count.as_u64().expect("a count"))).collect();
        assert_eq!(theirs, shown);
        let shown: BTreeSet<String> = list(&ours["listen_queues"])
            .iter()
            .map(|queue| {
                let address = text(&queue["laddr"]);
                let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
                format!("{} of {} at {address}:{}", queue["backlog"], queue["backlog_limit"], queue["lport"])
            })
            .collect();
        assert_eq!(queues, shown);
    }
    // Whose they are.
    let ours = net(&["--netns", network.client_ns.name()]);
    let pid = network.client.process.pid;
    let owned =
        list(&ours["sockets"]["owners"]).iter().find(|o| o["pid"] == json!(pid)).expect("the client has sockets");
    assert_eq!(owned["comm"], json!("net client"));
    assert_eq!(owned["states"], json!({ "ESTABLISHED": 5, "CLOSE_WAIT": 1 }));
    assert_eq!(owned["total"], json!(6));
}

#[test]
fn a_full_accept_queue_comes_first_and_says_what_next() {
    let network = Network::new();
    let listener = Listener::open_with(&network.server, &network.server_ns, "10.7.0.2:80", 1, 0, |_| ());
    for _ in 0..2 {
        let fd = network.client.socket(4);
        assert_eq!(network.client.connect(fd, listener.addr).errno(), None);
    }
    let before = net(&["--netns", network.server_ns.name()]);
    assert_eq!(before["counters"]["TcpExtListenOverflows"], json!(0));
    let fd = network.client.nonblocking_socket(4);
    assert_eq!(network.client.connect(fd, listener.addr).errno(), Some("EINPROGRESS"));
    let overflows = || {
        let ours = net(&["--netns", network.server_ns.name()]);
        Ok(ours["counters"]["TcpExtListenOverflows"].as_u64() > Some(0))
    };
    sys::until(overflows).expect("the SYN is dropped");

    let (status, out, log) = run_to_end(&["net", "--netns", network.server_ns.name()]);
    assert!(status.success(), "{log}");
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].contains("SICK"), "{out}");
    assert!(
        lines[3].starts_with("SICK   10.7.0.2:80 ")
            && lines[3].contains("2 of 1")
            && lines[3].contains("by net server["),
        "{out}"
    );
    let overflowed = lines.iter().find(|line| line.contains("TcpExtListenOverflows ")).expect("it is a line");
    assert!(overflowed.contains("accept queue full"), "{out}");
    assert!(out.contains("tracer explain TcpExtListenOverflows"), "{out}");
    assert!(lines.iter().all(|line| line.chars().count() <= 100), "{out}");
    assert!(lines.len() <= 40, "{out}");
    assert!(!out.contains('\u{1b}'), "no colours in a pipe");
    let (_, colored, _) = run_to_end(&["net", "--netns", network.server_ns.name(), "--color", "always"]);
    assert!(colored.contains("\u{1b}[31mSICK\u{1b}[0m"), "{colored}");
}

#[test]
fn conntrack_agrees_with_conntrack() {
    if let Some(reason) = missing_tool("conntrack") {
        return skip(&reason);
    }
    let network = Network::new();
    network.client_ns.nft_rule("output", "ct state new accept");
    network.busy();
    let netns = &network.client_ns;
    let count = || inside(netns, &["conntrack", "-C"]).trim().parse::<u64>().expect("a number");
    let listed = || {
        let mut states: BTreeMap<String, u64> = BTreeMap::new();
        for family in ["ipv4", "ipv6"] {
            for line in inside(netns, &["conntrack", "-L", "-f", family]).lines() {
                let mut words = line.split_whitespace();
                let protocol = words.next().expect("a protocol");
                let state = words.nth(2).filter(|word| !word.contains('=')).unwrap_or_default();
                *states.entry(format!("{protocol} {state}")).or_default() += 1;
            }
        }
        states
    };
    let (states, before, ours, after) = (listed(), count(), net(&["--netns", netns.name()]), count());
    assert!(before >= 6, "{before} connections are followed");
    between("count", &json!(before), &ours["conntrack"]["count"], &json!(after));
    let max = inside(netns, &["cat", "/proc/sys/net/netfilter/nf_conntrack_max"]);
    assert_eq!(ours["conntrack"]["max"].to_string(), max.trim());
    if ours["conntrack"]["states"].is_null() {
        assert!(list(&ours["missing"]["absent"]).contains(&json!("nf_conntrack")), "{}", ours["missing"]);
        return;
    }
    let shown: BTreeMap<String, u64> = list(&ours["conntrack"]["states"])
        .iter()
        .map(|row| {
            (format!("{} {}", text(&row["protocol"]), text(&row["state"])), row["count"].as_u64().expect("a count"))
        })
        .collect();
    // Short-lived states may end meanwhile.
    let later = listed();
    for (state, count) in &shown {
        let of = |states: &BTreeMap<String, u64>| json!(states.get(state).copied().unwrap_or(0));
        between(state, &of(&states), &json!(count), &of(&later));
    }
}

#[test]
fn a_namespace_by_process_name_and_number() {
    let network = Network::new();
    let inode = network.client_ns.inode();
    for choice in [network.client_ns.name(), &network.client.process.pid.to_string(), &inode.to_string()] {
        let ours = net(&["--netns", choice]);
        assert_eq!(ours["netns"], json!(inode), "{choice}");
        assert_eq!(ours["netns_name"], json!(network.client_ns.name()), "{choice}");
        assert_eq!(ours["netns_current"], json!(false));
        let names: Vec<&str> = list(&ours["interfaces"]).iter().map(|i| text(&i["name"])).collect();
        assert!(names.contains(&"wire"), "{names:?}");
    }
    let own = std::fs::metadata("/proc/self/ns/net").expect("there is a namespace");
    assert_eq!(net(&[])["netns"], json!(std::os::unix::fs::MetadataExt::ino(&own)));
}

#[test]
fn every_namespace_once() {
    let network = Network::new();
    // One that only its name keeps alive.
    let empty = Netns::new();
    let (status, out, log) = run_to_end(&["net", "--json", "--all-netns"]);
    assert!(status.success(), "{log}");
    let inodes: Vec<u64> = out.lines().map(|line| json_of(line)["netns"].as_u64().expect("a number")).collect();
    for netns in [&network.client_ns, &network.server_ns, &empty] {
        assert_eq!(inodes.iter().filter(|inode| **inode == netns.inode()).count(), 1, "{inodes:?}");
    }
    let own = std::fs::metadata("/proc/self/ns/net").expect("there is a namespace");
    assert!(inodes.contains(&std::os::unix::fs::MetadataExt::ino(&own)));
    assert_eq!(inodes.iter().collect::<BTreeSet<_>>().len(), inodes.len());
}

#[test]
fn local_ports_that_run_out() {
    let network = Network::new();
    network.client_ns.sysctl("net/ipv4/ip_local_port_range", "40000 40009");
    network.client_ns.sysctl("net/ipv4/ip_local_reserved_ports", "40001-40002,50000");
    let listener = Listener::open(&network.server, &network.server_ns, "10.7.0.2:80");
    // Of ten ports two are reserved.
    let _pairs: Vec<Pair<'_>> = (0..8).map(|_| Pair::open(&network.client, &network.client_ns, &listener)).collect();
    let fd = network.client.socket(4);
    assert_eq!(network.client.connect(fd, listener.addr).errno(), Some("EADDRNOTAVAIL"));
    let ours = net(&["--netns", network.client_ns.name()]);
    assert_eq!(ours["ports"]["range"], json!([40000, 40009]));
    assert_eq!(ours["ports"]["available"], json!(8));
    let to = json!([{ "laddr": "10.7.0.1", "raddr": "10.7.0.2", "rport": 80, "ports": 8 }]);
    assert_eq!(ours["ports"]["destinations"], to);
    let sick = &ours["findings"][0];
    assert_eq!((text(&sick["severity"]), text(&sick["section"])), ("sick", "ports"));
    assert_eq!(text(&sick["amount"]), "8 of 8");
    // The server's side of the same connections takes no ports of its own choice.
    assert_eq!(net(&["--netns", network.server_ns.name()])["ports"]["destinations"], json!([]));
}

/// `tracer net --watch`, line by line.
struct Watch {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(tracer_program())
            .args(["net", "--json", "--watch", "100ms"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tracer starts");
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        Self { child, lines }
    }

    fn next(&mut self) -> Value {
        json_of(&self.lines.next().expect("it goes on").expect("it is text"))
    }

    /// The first object that `ask` wants.
    fn until(&mut self, what: &str, mut ask: impl FnMut(&Value) -> bool) -> Value {
        let end = std::time::Instant::now() + sys::patience();
        while std::time::Instant::now() < end {
            let object = self.next();
            if ask(&object) {
                return object;
            }
        }
        panic!("{what} does not come");
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn watch_shows_what_moves_and_what_comes_and_goes() {
    let network = Network::new();
    let mut watch = Watch::start(&["--netns", network.client_ns.name()]);
    let first = watch.next();
    assert!(first["changes"]["seconds"].as_f64() >= Some(0.09), "{}", first["changes"]["seconds"]);

    let presence = |object: &Value, name: &str| {
        let devices = list(&object["changes"]["interfaces"]).to_owned();
        devices.iter().find(|device| device["name"] == json!(name)).map(|device| text(&device["presence"]).to_owned())
    };
    network.client_ns.ip(&["link", "add", "guest", "type", "veth", "peer", "name", "other"]);
    watch.until("the device", |object| presence(object, "guest").as_deref() == Some("appeared"));
    watch.until("the device", |object| presence(object, "guest").as_deref() == Some("stayed"));
    network.client_ns.ip(&["link", "del", "guest"]);
    let gone = watch.until("its end", |object| presence(object, "guest").as_deref() == Some("vanished"));
    let device = list(&gone["changes"]["interfaces"]).iter().find(|d| d["name"] == json!("guest")).cloned();
    assert!(device.expect("it is told")["rx_bytes"].is_null(), "how far a device that is gone moved is unknown");
    watch.until("nothing", |object| presence(object, "guest").is_none());

    // What moves is told once, all of it, and nothing when nothing moves.
    let sent = |object: &Value| object["changes"]["counters"]["TcpActiveOpens"]["delta"].as_u64().unwrap_or(0);
    network.busy();
    let mut sum = 0;
    watch.until("all connections", |object| {
        sum += sent(object);
        sum == 9
    });
    watch.until("quiet", |object| object["changes"]["counters"].as_object().is_some_and(serde_json::Map::is_empty));

    // SAFETY: the process was started here and has not been waited for, so the id is its own.
    unsafe { libc::kill(watch.child.id() as i32, libc::SIGINT) };
    assert!(watch.child.wait().expect("it ends").success());
}

#[test]
fn count_ends_the_watching() {
    let netns = Netns::new();
    let (status, out, log) = run_to_end(&["net", "--json", "--watch", "0.05", "--count", "3", "--netns", netns.name()]);
    assert!(status.success(), "{log}");
    assert_eq!(out.lines().count(), 3);
    let (status, out, log) = run_to_end(&["net", "--watch", "50ms", "--count", "2", "--netns", netns.name()]);
    assert!(status.success(), "{log}");
    assert_eq!(out.matches("counters ").count(), 2, "{out}");
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let mut child = Command::new(tracer_program())
        .args(["net", "--watch", "10ms", "--all"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("tracer starts");
    drop(child.stdout.take());
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn wrong_usage_and_no_such_namespace() {
    for (args, status, part) in [
        (&["net", "--count", "3"][..], 2, "--watch"),
        (&["net", "--watch", "0"], 2, "longer than zero"),
        (&["net", "--netns", "1", "--all-netns"], 2, "--all-netns"),
        (&["net", "--netns", "no-such-name"], 1, "no such network namespace: no-such-name"),
        (&["net", "--netns", "4026530000"], 1, "network namespace"),
    ] {
        let (ended, _, log) = run_to_end(args);
        assert_eq!(ended.code(), Some(status), "{args:?}: {log}");
        assert!(log.contains(part), "{args:?}: {log}");
    }
}

#[test]
fn without_root_it_says_what_is_missing() {
    let network = Network::new();
    let _listener = Listener::open(&network.client, &network.client_ns, "127.0.0.1:81");
    let copy = scratch().join("tracer-of-nobody");
    std::fs::copy(tracer_program(), &copy).expect("the binary is copied");
    let nobody = |args: &[&str]| {
        let mut tracer = Command::new("ip");
        // `ip netns exec` as root, then nobody.
        tracer.args([
            "netns",
            "exec",
            network.client_ns.name(),
            "setpriv",
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "--",
        ]);
        tracer.arg(&copy).arg("net").args(args).output().expect("it runs")
    };
    let out = nobody(&["--json"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let ours = json_of(&String::from_utf8_lossy(&out.stdout));
    assert_eq!(ours["netns"], json!(network.client_ns.inode()));
    let owners = list(&ours["sockets"]["owners"]);
    assert_eq!(owners.len(), 1, "{owners:?}");
    assert_eq!((text(&owners[0]["owner"]), &owners[0]["total"]), ("unknown", &json!(1)));
    assert!(ours["missing"]["processes_denied"].as_u64() > Some(0));
    assert_eq!(ours["listen_queues"][0]["backlog_limit"], json!(16), "sock_diag needs no root");
    let out = nobody(&[]);
    let page = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success() && page.contains("not seen: the owner of 1 socket"), "{page}");
    if std::fs::exists("/proc/net/nf_conntrack").expect("/proc is there") {
        assert!(page.contains("nf_conntrack: only root may read it"), "{page}");
    }

    let other = network.server_ns.name();
    let out = Command::new(&copy).args(["net", "--netns", other]).uid(65534).gid(65534).output().expect("it runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("run as root"), "{said}");
    std::fs::remove_file(&copy).expect("the copy is removed");
}
