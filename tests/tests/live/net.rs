//! `tracer net` against the tools that it replaces: `nstat`, `ip`, `ss`, `conntrack`, in namespaces of the test. The
//! tools read numbers that move before and after; ours must be between.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tracer_tests::agent::run_to_end;
use tracer_tests::generator::{Listener, Pair};
use tracer_tests::network::{Network, json_of, list, net, text};
use tracer_tests::skip::{missing_tool, skip};
use tracer_tests::traffic::sys;

/// Checks that our number is between the one before and the one after.
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
        let nstat = || json_of(&netns.run(&["nstat", "-asz", "-j"]))["kernel"].clone();
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
            // The file adds two of ip's numbers up.
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
        // States age by themselves.
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
    // The server has closed one, the client has not.
    network.server.on("close", pairs[1].server_fd);
    network.client.await_state(pairs[1].client_fd, "CLOSE_WAIT");
    // Fills the queue: the server does not accept. The kernel takes one more than the limit.
    for _ in 0..4 {
        let fd = network.client.socket(4);
        assert_eq!(network.client.connect(fd, listener.addr).errno(), None);
    }
    for netns in [&network.server_ns, &network.client_ns] {
        let ss = || netns.run(&["ss", "-tanH", "-O"]);
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
    // Their owners.
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
        lines[3].split_whitespace().take(2).eq(["SICK", "10.7.0.2:80"])
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
    let count = || netns.run(&["conntrack", "-C"]).trim().parse::<u64>().expect("a number");
    let listed = || {
        let mut states: BTreeMap<String, u64> = BTreeMap::new();
        for family in ["ipv4", "ipv6"] {
            for line in netns.run(&["conntrack", "-L", "-f", family]).lines() {
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
    let max = netns.run(&["cat", "/proc/sys/net/netfilter/nf_conntrack_max"]);
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
fn local_ports_that_run_out() {
    let network = Network::new();
    network.client_ns.sysctl("net/ipv4/ip_local_port_range", "40000 40009");
    network.client_ns.sysctl("net/ipv4/ip_local_reserved_ports", "40001-40002,50000");
    let listener = Listener::open(&network.server, &network.server_ns, "10.7.0.2:80");
    // Two of the ten ports are reserved.
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
    // The server's side of the same connections takes no ephemeral ports.
    assert_eq!(net(&["--netns", network.server_ns.name()])["ports"]["destinations"], json!([]));
}
