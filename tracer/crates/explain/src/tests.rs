#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::HashSet, path::Path};

use tracer_common::tcp::TcpState;

use super::*;
use tracer_stream::Verdict;

fn of(family: Family) -> impl Iterator<Item = &'static Entry> {
    entries().filter(move |entry| entry.family == family)
}

fn named(name: &str, families: &[Family]) -> Option<&'static Entry> {
    entries().find(|entry| families.contains(&entry.family) && entry.names().any(|other| other == name))
}

const DROPS: [Family; 4] = [Family::Drop, Family::Qdisc, Family::Mac80211, Family::Openvswitch];

#[test]
fn no_field_is_empty_and_sentences_are_sentences() {
    for entry in entries() {
        let name = entry.name;
        assert!(!name.is_empty() && entry.also.iter().all(|name| !name.is_empty()), "{entry:?}");
        assert!(entry.meaning.ends_with('.') && entry.meaning.len() > 8, "{name}: {}", entry.meaning);
        assert!(!entry.causes.is_empty() && entry.causes.iter().all(|cause| cause.len() > 3), "{name}");
        assert!(!entry.look.is_empty() && entry.look.iter().all(|look| look.len() > 3), "{name}");
        assert!(entry.causes.iter().all(|cause| !cause.ends_with('.')), "{name}: {:?}", entry.causes);
        let texts = entry.causes.iter().chain(entry.look).chain([&entry.meaning]);
        for text in texts {
            assert!(text.is_ascii() || text.contains('…'), "{name}: {text}");
            assert!(!text.contains(char::is_control), "{name}: {text}");
            // A hint follows two spaces; elsewhere they are a typing error.
            assert!(!text.replace("  # ", " ").contains("  "), "{name}: {text}");
        }
        assert_eq!(entry.class.is_some(), DROPS.contains(&entry.family), "{name}");
    }
}

#[test]
fn no_name_has_two_entries_in_a_family() {
    let mut seen = HashSet::new();
    for entry in entries() {
        for name in entry.names() {
            assert!(seen.insert((entry.family, name)), "{name}");
        }
    }
}

#[test]
fn every_name_of_every_kernel_has_an_entry() {
    for (version, list) in kernels::KERNELS {
        for (kind, families, least) in
            [("drop", &DROPS[..], 60), ("reset", &[Family::Reset], 20), ("counter", &[Family::Counter], 250)]
        {
            let names: Vec<_> = kernels::names(list, kind).collect();
            // Reasons for drops came with 5.17, for resets with 6.10.
            let none = version == "5.10" && kind != "counter" || version == "6.1" && kind == "reset";
            assert!(if none { names.is_empty() } else { names.len() >= least }, "{version} {kind} {}", names.len());
            for name in names {
                assert!(named(name, families).is_some(), "{version}: no entry for {kind} {name}");
            }
        }
        assert!(list.lines().all(|line| ["drop ", "reset ", "counter "].iter().any(|kind| line.starts_with(kind))));
    }
}

#[test]
fn the_running_kernels_counters_have_entries() {
    let mut names = Vec::new();
    for file in ["/proc/net/netstat", "/proc/net/snmp"] {
        let text = std::fs::read_to_string(file).unwrap();
        for line in text.lines().step_by(2) {
            let (group, rest) = line.split_once(':').unwrap();
            names.extend(rest.split_whitespace().map(|name| format!("{group}{name}")));
        }
    }
    let text = std::fs::read_to_string("/proc/net/snmp6").unwrap_or_default();
    names.extend(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned));
    assert!(names.len() > 200);
    for name in names {
        let found = lookup(&name);
        assert!(found.iter().any(|found| found.entry.family == Family::Counter), "no entry for {name}");
    }
}

#[test]
fn every_state_verdict_and_class_has_an_entry() {
    for number in 1..=u8::MAX {
        let Some(state) = TcpState::from_number(number) else {
            assert!(number > 12);
            continue;
        };
        assert!(named(state.name(), &[Family::State]).is_some(), "{state:?}");
    }
    for verdict in Verdict::ALL {
        assert!(named(verdict.name(), &[Family::Verdict]).is_some(), "{verdict:?}");
    }
    assert_eq!(of(Family::Verdict).count(), Verdict::ALL.len());
    assert_eq!(of(Family::Class).count(), DropClass::ALL.len());
}

#[test]
fn every_errno_is_one_and_is_found_by_its_number() {
    assert!(of(Family::Errno).count() >= 35);
    for entry in of(Family::Errno) {
        let number = (1..200).find(|number| numbers::name(*number) == Some(entry.name));
        let found = lookup(&number.unwrap().to_string());
        assert!(found.iter().any(|found| found.entry == entry), "{}", entry.name);
    }
    for number in [libc::ECONNREFUSED, libc::ETIMEDOUT, libc::ECONNRESET, libc::EADDRNOTAVAIL, libc::EHOSTUNREACH] {
        assert_eq!(lookup(&number.to_string()).len(), 1, "{number}");
        assert_eq!(lookup(&format!("-{number}")).len(), 1, "{number}");
    }
}

fn found(word: &str) -> Vec<(Family, &'static str)> {
    lookup(word).into_iter().map(|found| (found.entry.family, found.name)).collect()
}

#[test]
fn lookup_forgives() {
    let no_socket = [(Family::Drop, "SKB_DROP_REASON_NO_SOCKET"), (Family::Reset, "SK_RST_REASON_NO_SOCKET")];
    for word in ["NO_SOCKET", "no_socket", "no-socket", " NoSocket "] {
        assert_eq!(found(word), no_socket, "{word}");
    }
    assert_eq!(found("skb_drop_reason_no_socket"), no_socket[..1]);
    assert_eq!(found("SK_RST_REASON_NO_SOCKET"), no_socket[1..]);
    let overflows = [(Family::Counter, "TcpExtListenOverflows")];
    for word in ["TcpExtListenOverflows", "ListenOverflows", "listenoverflows"] {
        assert_eq!(found(word), overflows, "{word}");
    }
    for word in ["TIME_WAIT", "TIME-WAIT", "time_wait", "TCP_TIME_WAIT", "BPF_TCP_TIME_WAIT"] {
        assert_eq!(found(word), [(Family::State, "TIME_WAIT")], "{word}");
    }
    assert_eq!(found("fin-wait-1"), [(Family::State, "FIN_WAIT1")]);
    assert_eq!(found("ESTAB"), [(Family::State, "ESTAB")]);
    assert_eq!(found("EWOULDBLOCK"), [(Family::Errno, "EAGAIN")]);
    assert_eq!(found("111"), [(Family::Errno, "ECONNREFUSED")]);
    assert_eq!(found("U_MIC_FAIL"), [(Family::Mac80211, "RX_DROP_U_MIC_FAIL")]);
    assert_eq!(found("___RX_DROP_U_DUP"), [(Family::Mac80211, "RX_DROP_U_DUP")]);
    assert_eq!(found("IcmpMsgInType3"), [(Family::Counter, "IcmpMsgInType")]);
    assert_eq!(found("Icmp6OutType135"), [(Family::Counter, "Icmp6OutType")]);
}

#[test]
fn all_meanings_of_an_ambiguous_name_are_shown() {
    assert_eq!(found("TCP_CLOSE"), [(Family::Drop, "SKB_DROP_REASON_TCP_CLOSE"), (Family::State, "CLOSE")]);
    assert_eq!(found("refused"), [(Family::Verdict, "refused"), (Family::Class, "refused")]);
    assert_eq!(found("TCPMinTTLDrop"), [(Family::Counter, "TcpExtTCPMinTTLDrop")]);
    let checksums: Vec<_> = found("InCsumErrors").into_iter().map(|(_, name)| name).collect();
    assert_eq!(checksums, ["TcpInCsumErrors", "IpExtInCsumErrors", "UdpInCsumErrors", "IcmpInCsumErrors"]);
}

#[test]
fn nonsense_is_not_found_and_near_misses_are_suggested() {
    for word in ["", " ", "_", "xyzzy", "99999", "-", "0", "NO_SOCKETS", "Type3", "TCP_"] {
        assert_eq!(found(word), [], "{word:?}");
    }
    assert_eq!(suggestions("NO_SOCKETS").first(), Some(&"SKB_DROP_REASON_NO_SOCKET"));
    assert_eq!(suggestions("econrefused").first(), Some(&"ECONNREFUSED"));
    assert_eq!(suggestions("ListenOverflow").first(), Some(&"TcpExtListenOverflows"));
    assert!(suggestions("xyzzy").is_empty());
}

/// Commands that `look` may name, by their Debian package if it is not in the base system.
const COMMANDS: &[&str] = &[
    "ausearch",
    "bpftool",
    "bridge",
    "capsh",
    "cat",
    "conntrack",
    "dmesg",
    "ethtool",
    "ip",
    "iptables-save",
    "iw",
    "journalctl",
    "ls",
    "lsmod",
    "nft",
    "nstat",
    "ovs-appctl",
    "ovs-ofctl",
    "perf",
    "ss",
    "strace",
    "sysctl",
    "systemctl",
    "tc",
    "tcpdump",
    "tracepath",
    "tracer",
    "wpa_cli",
];

/// The text of `look` before the hint, by its command.
fn commands() -> impl Iterator<Item = (&'static str, &'static str, Vec<&'static str>)> {
    entries().flat_map(|entry| {
        entry.look.iter().map(|look| {
            let line = look.split("  # ").next().unwrap_or(look);
            let mut words = line.split(' ').take_while(|word| !["|", ">"].contains(word));
            (entry.name, words.next().unwrap_or_default(), words.collect())
        })
    })
}

#[test]
fn every_command_is_a_real_one() {
    for (name, command, _) in commands() {
        assert!(COMMANDS.contains(&command), "{name}: {command}");
    }
}

#[test]
fn every_counter_to_look_at_exists() {
    for (name, _, words) in commands().filter(|(_, command, _)| *command == "nstat") {
        for word in words.into_iter().filter(|word| !word.starts_with('-')) {
            assert!(named(word, &[Family::Counter]).is_some(), "{name}: {word}");
        }
    }
}

/// Settings that not every kernel or host has: their module may not be loaded, or the kernel may be older or newer than
/// the setting.
const SOMETIMES: &[&str] = &[
    // 6.19.
    "net.core.qdisc_max_burst",
    // Module nf_conntrack.
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_max",
    // CONFIG_MPTCP; blackhole_timeout 6.12, stale_loss_cnt 5.14.
    "net.mptcp.enabled",
    "net.mptcp.checksum_enabled",
    "net.mptcp.stale_loss_cnt",
    "net.mptcp.blackhole_timeout",
    // 5.14, 5.15, 6.0, 6.1, 6.11, 6.15.
    "net.ipv4.tcp_migrate_req",
    "net.core.txrehash",
    "net.ipv4.tcp_plb_enabled",
    "net.ipv4.tcp_shrink_window",
    "net.ipv4.tcp_rto_min_us",
    "net.ipv4.tcp_rto_max_ms",
];

#[test]
fn every_sysctl_exists() {
    // IPv6 can be disabled as a whole.
    let ipv6 = Path::new("/proc/sys/net/ipv6").exists();
    let mut count = 0;
    for (name, _, words) in commands().filter(|(_, command, _)| *command == "sysctl") {
        for word in words {
            let path = Path::new("/proc/sys").join(word.replace('.', "/"));
            let optional = SOMETIMES.contains(&word) || (!ipv6 && word.starts_with("net.ipv6."));
            assert!(path.exists() || optional, "{name}: no sysctl {word}");
            count += 1;
        }
    }
    assert!(count > 100);
}
