#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use clap::Parser;
use tracer_stream::{ConnId, Owner, OwnerSource, Socket, sample};

use super::*;
use crate::{Decision, FilterArgs, tests::World};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    filter: FilterArgs,
}

fn filter(words: &[String]) -> Filter {
    let line = Line::try_parse_from(std::iter::once("x").chain(words.iter().map(String::as_str))).unwrap();
    line.filter.resolve(&World).unwrap()
}

fn filter_of(text: &str) -> Filter {
    filter(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
}

fn compile(text: &str) -> KernelFilter {
    KernelFilter::compile(&filter_of(text), |_| None)
}

/// The kernel side's facts about a connection.
struct Tuple {
    family: u8,
    role: Role,
    laddr: IpAddr,
    raddr: IpAddr,
    lport: u16,
    rport: u16,
    netns: u32,
    uid: u32,
}

impl KernelFilter {
    fn has(&self, filter: u32) -> bool {
        self.filters & filter != 0
    }

    fn port_bits(&self, port: u16) -> u32 {
        if port == 0 {
            return 7;
        }
        self.ports.as_ref().map_or(0, |table| table[usize::from(port)].into())
    }

    /// `bpf_lpm_trie`: the value of the longest prefix.
    fn prefix_bits(&self, addr: IpAddr) -> u32 {
        let longest = match addr {
            IpAddr::V4(_) => self
                .prefixes4
                .iter()
                .filter(|(key, _)| Prefix::new(key.addr.into(), key.bits as u8).contains(addr))
                .max_by_key(|(key, _)| key.bits)
                .map(|(_, value)| *value),
            IpAddr::V6(_) => self
                .prefixes6
                .iter()
                .filter(|(key, _)| Prefix::new(key.addr.into(), key.bits as u8).contains(addr))
                .max_by_key(|(key, _)| key.bits)
                .map(|(_, value)| *value),
        };
        longest.unwrap_or(0)
    }

    /// The kernel side's tests, which pass unknown values.
    fn passes(&self, tuple: &Tuple) -> bool {
        let (lport, rport) = (self.port_bits(tuple.lport), self.port_bits(tuple.rport));
        let (laddr, raddr) = (self.prefix_bits(tuple.laddr), self.prefix_bits(tuple.raddr));
        let role = match tuple.role {
            Role::Unknown => RecordRole::Unknown,
            Role::Client => RecordRole::Client,
            Role::Server => RecordRole::Server,
            Role::Listener => RecordRole::Listener,
        };
        (!self.has(settings::FILTER_FAMILY)
            || self.family == u32::from(tuple.family)
            || role == RecordRole::Listener && tuple.family == 6)
            && (!self.has(settings::FILTER_ROLE) || role == RecordRole::Unknown || self.role == role as u32)
            && (!self.has(settings::FILTER_NETNS) || self.netns.contains(&tuple.netns))
            && (!self.has(settings::FILTER_UID) || self.uids.contains(&tuple.uid))
            && (!self.has(settings::FILTER_NO_LOOPBACK) || !tuple.raddr.is_loopback())
            && (!self.has(settings::FILTER_PORT) || (lport | rport) & u32::from(settings::PORT_ANY) != 0)
            && (!self.has(settings::FILTER_LPORT) || lport & u32::from(settings::PORT_LOCAL) != 0)
            && (!self.has(settings::FILTER_RPORT) || rport & u32::from(settings::PORT_REMOTE) != 0)
            && (!self.has(settings::FILTER_ADDR) || (laddr | raddr) & settings::PREFIX_ANY != 0)
            && (!self.has(settings::FILTER_LADDR) || laddr & settings::PREFIX_LOCAL != 0)
            && (!self.has(settings::FILTER_RADDR) || raddr & settings::PREFIX_REMOTE != 0)
    }
}

impl KernelFilter {
    /// The kernel side's `flow_passes`, for a packet with these ends.
    fn passes_packet(&self, tuple: &Tuple) -> bool {
        let ports = self.port_bits(tuple.lport) | self.port_bits(tuple.rport);
        let addrs = self.prefix_bits(tuple.laddr) | self.prefix_bits(tuple.raddr);
        let ports_pass = [
            (settings::FILTER_PORT, settings::PORT_ANY),
            (settings::FILTER_LPORT, settings::PORT_LOCAL),
            (settings::FILTER_RPORT, settings::PORT_REMOTE),
        ]
        .iter()
        .all(|(filter, bit)| !self.has(*filter) || ports & u32::from(*bit) != 0);
        let addrs_pass = [
            (settings::FILTER_ADDR, settings::PREFIX_ANY),
            (settings::FILTER_LADDR, settings::PREFIX_LOCAL),
            (settings::FILTER_RADDR, settings::PREFIX_REMOTE),
        ]
        .iter()
        .all(|(filter, bit)| !self.has(*filter) || addrs & bit != 0);
        ports_pass && addrs_pass
    }
}

/// Small and deterministic: the same cases in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    fn list(&mut self, values: &[&str]) -> String {
        let count = 1 + self.below(4);
        let items: Vec<String> =
            (0..count).map(|_| format!("{}{}", if self.below(3) == 0 { "!" } else { "" }, self.of(values))).collect();
        items.join(",")
    }

    fn options(&mut self) -> Vec<String> {
        const PORTS: [&str; 6] = ["80", "443", "1-1023", "8000-8099", "8080", "1-65535"];
        const PREFIXES: [&str; 14] = [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.0/24",
            "10.1.2.3",
            "127.0.0.1",
            "128.0.0.0/1",
            "0.0.0.0",
            "::/0",
            "2001:db8::/32",
            "2001:db8:1::/48",
            "2001:db8::1",
            "::1",
            "::ffff:10.1.0.0/112",
        ];
        let kinds: [(&str, &[&str]); 9] = [
            ("port", &PORTS),
            ("lport", &PORTS),
            ("rport", &PORTS),
            ("addr", &PREFIXES),
            ("laddr", &PREFIXES),
            ("raddr", &PREFIXES),
            ("role", &["client", "server", "listener", "unknown"]),
            ("netns", &["4026531840", "4026532000"]),
            ("uid", &["0", "33", "1000"]),
        ];
        let mut words = Vec::new();
        for (name, values) in kinds {
            if self.below(4) == 0 {
                words.push(format!("--{name}={}", self.list(values)));
            }
        }
        for flag in ["-4", "-6", "--no-loopback"] {
            if self.below(8) == 0 {
                words.push(flag.to_owned());
            }
        }
        words
    }

    fn tuple(&mut self) -> Tuple {
        const ADDRS4: [&str; 7] = ["10.1.2.3", "10.1.2.4", "10.1.9.9", "10.9.9.9", "127.0.0.1", "192.0.2.1", "0.0.0.0"];
        const ADDRS6: [&str; 6] = ["2001:db8::1", "2001:db8:1::1", "2001:db8:2::1", "fe80::1", "::1", "::"];
        const PORTS: [u16; 9] = [0, 1, 80, 443, 1023, 1024, 8080, 8099, 65535];
        let family = self.of(&[4, 6]);
        // IPv4 addresses on an IPv6 socket stand for v4-mapped ones.
        let addrs = if family == 4 || self.below(3) == 0 { &ADDRS4[..] } else { &ADDRS6[..] };
        let role = self.of(&[Role::Client, Role::Server, Role::Listener, Role::Unknown]);
        let none = if addrs == ADDRS4 { "0.0.0.0" } else { "::" };
        let (raddr, rport) = if role == Role::Listener { (none, 0) } else { (self.of(addrs), self.of(&PORTS)) };
        Tuple {
            family,
            role,
            laddr: self.of(addrs).parse().unwrap(),
            raddr: raddr.parse().unwrap(),
            lport: self.of(&PORTS),
            rport,
            netns: self.of(&[4_026_531_840, 4_026_532_000, 4_026_532_001, 0]),
            uid: self.of(&[0, 33, 1000, 1001]),
        }
    }
}

fn socket<'a>(tuple: &Tuple, owner: &'a Owner) -> Socket<'a> {
    let listener = tuple.role == Role::Listener;
    let known = |addr: IpAddr| (!addr.is_unspecified()).then_some(addr);
    Socket {
        conn: ConnId(1),
        proto: "tcp",
        family: tuple.family,
        v4mapped: tuple.family == 6 && tuple.laddr.is_ipv4(),
        laddr: if listener { Some(tuple.laddr) } else { known(tuple.laddr) },
        lport: (tuple.lport != 0).then_some(tuple.lport),
        raddr: known(tuple.raddr),
        rport: (tuple.rport != 0).then_some(tuple.rport),
        ifindex: None,
        netns: (tuple.netns != 0).then_some(tuple.netns),
        home: None,
        role: tuple.role,
        owner: Some(owner),
        owner_source: OwnerSource::Connect,
        holders: &[],
        v6only: None,
        mptcp: false,
    }
}

/// Both decide alike if everything is known; if not, the kernel side never rejects what the agent would pass or hold
/// back.
#[test]
fn the_kernel_agrees_with_the_agent() {
    let mut random = Random(1);
    let (mut rejected, mut passed, mut packets_rejected) = (0, 0, 0);
    for _ in 0..300 {
        let words = random.options();
        let filter = filter(&words);
        let kernel = KernelFilter::compile(&filter, |_| None);
        for _ in 0..200 {
            let tuple = random.tuple();
            let owner = Owner { uid: Some(tuple.uid), ..sample::owner("x", 1) };
            let socket = socket(&tuple, &owner);
            let decision = filter.decide_connection(&socket);
            let case = format!("{words:?} {socket:?}");
            // The kernel side does not know which end of a packet is the local one. A packet to a listener has a remote
            // end, which the listener lacks.
            if decision == Decision::Pass && tuple.role != Role::Listener {
                assert!(kernel.passes_packet(&tuple), "{case}");
            }
            packets_rejected += u32::from(!kernel.passes_packet(&tuple));
            if !kernel.passes(&tuple) {
                rejected += 1;
                assert_eq!(decision, Decision::Reject, "{case}");
                assert!(!filter.decide_connection_final(&socket), "{case}");
                continue;
            }
            passed += 1;
            let known = [tuple.laddr, tuple.raddr].iter().all(|addr| !addr.is_unspecified())
                && tuple.lport != 0
                && tuple.rport != 0
                && tuple.netns != 0
                && tuple.role != Role::Unknown;
            // Lists of excluded values only, and several roles, are left to the agent.
            let expressible = filter.netns.exclude.is_empty()
                && filter.uid.exclude.is_empty()
                && (filter.role.is_empty() || kernel.has(settings::FILTER_ROLE));
            if known && expressible {
                assert_eq!(decision, Decision::Pass, "{case}");
            }
        }
    }
    assert!(rejected > 10_000 && passed > 10_000, "the cases are worth something: {rejected} {passed}");
    assert!(packets_rejected > 5_000, "{packets_rejected}");
}

#[test]
fn nothing_is_asked_of_the_kernel_without_a_filter() {
    let kernel = compile("");
    assert_eq!(kernel.filters, 0);
    assert!(kernel.ports.is_none() && kernel.prefixes4.is_empty() && kernel.prefixes6.is_empty());
    assert_eq!(compile("--event close --failed --comm curl --min-duration 1s").filters, 0);
}

#[test]
fn lists_of_excluded_values_are_left_to_the_agent() {
    assert_eq!(compile("--uid !0 --netns !4026531840 --role !listener --cgroup !/a").filters, 0);
    let kernel = compile("--uid 1,2,!2 --netns 4026531840");
    assert_eq!(kernel.uids, [1]);
    assert_eq!(kernel.netns, [4_026_531_840, 0]);
}

#[test]
fn one_role_can_be_told() {
    assert_eq!(compile("--role client").role, RecordRole::Client as u32);
    assert_eq!(compile("--role client,unknown").filters, 0);
    assert_eq!(compile("--role client,server").filters, 0);
    assert_eq!(compile("--role client,server,!client").role, RecordRole::Server as u32);
}

#[test]
fn an_excluded_prefix_inside_a_wanted_one() {
    let kernel = compile("--raddr 10.0.0.0/8,!10.1.0.0/16,10.1.2.0/24");
    let remote = |text: &str| kernel.prefix_bits(text.parse().unwrap()) & settings::PREFIX_REMOTE != 0;
    assert_eq!(kernel.filters, settings::FILTER_RADDR);
    assert!(remote("10.2.0.1"));
    assert!(!remote("10.1.0.1"));
    assert!(!remote("10.1.2.1"), "excluded is excluded, as in the agent");
    assert!(!remote("192.0.2.1") && !remote("2001:db8::1"));
}

#[test]
fn a_long_list_of_prefixes_is_left_to_the_agent() {
    let list: Vec<String> = (0..MOST_PREFIXES).map(|n| format!("10.0.{}.{}", n / 256, n % 256)).collect();
    let kernel = compile(&format!("--addr {}", list.join(",")));
    assert_eq!(kernel.filters, 0);
    assert!(kernel.prefixes4.is_empty());
}

#[test]
fn processes_and_their_descendants() {
    let kernel = compile("-p 10");
    assert_eq!((kernel.filters, kernel.pids), (settings::FILTER_PID, vec![10]));
    let kernel = compile("-p 10 -f");
    assert_eq!(kernel.filters, settings::FILTER_PID | settings::FILTER_FOLLOW);
    assert!(kernel.pids.contains(&10) && kernel.pids.contains(&11));
    assert_eq!(compile("-p !10").filters, 0);
}

#[test]
fn one_cgroup_can_be_told() {
    let find = |path: &str| (path == "/a/b").then_some(CgroupId { id: 77, level: 2 });
    let compile = |text: &str| KernelFilter::compile(&filter_of(text), find);
    let kernel = compile("--cgroup /a/b");
    assert_eq!((kernel.filters, kernel.cgroup), (settings::FILTER_CGROUP, Some(CgroupId { id: 77, level: 2 })));
    assert_eq!(compile("--cgroup /a/b,/c").filters, 0);
    assert_eq!(compile("--cgroup /c").filters, 0);
}

#[test]
fn the_words_of_the_port_map_hold_the_table() {
    let kernel = compile("--port 80,8000-8099 --lport !81 --rport 1-100");
    let table = kernel.ports.as_ref().unwrap();
    let mut words = vec![0; PORTS / 16];
    for (index, word) in kernel.port_words() {
        words[index as usize] = word;
    }
    for port in 0..PORTS {
        assert_eq!((words[port >> 4] >> ((port & 15) * 4)) as u8 & 15, table[port], "{port}");
    }
    assert_eq!(table[80], settings::PORT_ANY | settings::PORT_LOCAL | settings::PORT_REMOTE);
    assert_eq!(table[81], settings::PORT_REMOTE);
    assert_eq!(table[8050], settings::PORT_ANY | settings::PORT_LOCAL);
}
