//! The words that the rules share.

use std::net::IpAddr;

use tracer_stream::{Endpoint, Nft, Party, Place};

use super::scene::{Dropped, Scene};

/// The most names in a sentence.
const MOST_NAMES: usize = 3;

/// `ADDRESS:PORT`.
pub fn end(addr: Option<IpAddr>, port: Option<u16>) -> String {
    Endpoint { addr, port, ifindex: None }.to_string()
}

/// `1 SYN`, `2 SYNs`.
pub fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// `a[1], b[2] and others`; `a process of another host` if there is none. Processes of one name stand together.
pub fn names(parties: &[Party]) -> String {
    let mut by_name: Vec<(&str, Vec<u32>)> = Vec::new();
    for party in parties {
        match by_name.iter_mut().find(|(comm, _)| *comm == party.comm) {
            Some((_, pids)) if pids.contains(&party.pid) => {}
            Some((_, pids)) => pids.push(party.pid),
            None => by_name.push((&party.comm, vec![party.pid])),
        }
    }
    let more = by_name.len() > MOST_NAMES;
    let names = by_name.iter().take(MOST_NAMES).map(|(comm, pids)| match pids.as_slice() {
        [pid] => format!("{comm}[{pid}]"),
        pids => format!("{comm} ({} processes)", pids.len()),
    });
    let names = names.collect::<Vec<_>>().join(", ");
    match (names.is_empty(), more) {
        (true, _) => "a process that is not of this host".to_owned(),
        (false, true) => format!("{names} and others"),
        (false, false) => names,
    }
}

/// Adds a party, once.
pub fn add(parties: &mut Vec<Party>, party: Party) {
    if parties.iter().all(|known| known.pid != party.pid) {
        parties.push(party);
    }
}

/// A time in words, from nanoseconds: `0.4 s`, `26 s`, `4 min`.
pub fn seconds(ns: u64) -> String {
    let tenths = ns / 100_000_000;
    match tenths {
        0..100 => format!("{}.{} s", tenths / 10, tenths % 10),
        100..6000 => format!("{} s", tenths / 10),
        _ => format!("{} min", tenths / 600),
    }
}

/// `nft ip edge forward handle 9 "tcp dport 80 drop"`, `the policy of nft inet fw forward`.
pub fn rule(nft: &Nft) -> String {
    let Nft { family, table, chain, handle, rule } = nft;
    match handle {
        None => format!("the policy of nft {family} {table} {chain}"),
        Some(handle) => {
            let text = rule.as_ref().map_or_else(String::new, |rule| format!(" \"{rule}\""));
            format!("nft {family} {table} {chain} handle {handle}{text}")
        }
    }
}

/// What dropped packets: the rule, the detail in words, or the kernel's reason.
pub fn dropper(group: &Dropped) -> String {
    match (group.rule(), &group.hint) {
        (Some(nft), _) => rule(nft),
        (None, Some(hint)) => hint.to_string(),
        (None, None) => group.reason.to_string(),
    }
}

/// Where packets were dropped.
pub fn place(scene: &Scene, group: &Dropped) -> Place {
    Place {
        netns: group.netns,
        netns_name: group.netns.map(|netns| scene.netns_name(netns)),
        iface: group.iface.as_deref().map(str::to_owned),
        rule: group.rule().map(rule),
        reason: Some(group.reason.to_string()),
        ..Place::default()
    }
}

/// A command that runs in a namespace. Names that need quoting in a shell are left out.
pub fn inside(scene: &Scene, netns: Option<u32>, command: &str) -> String {
    let namespace = netns.and_then(|inode| scene.host().namespace(inode)).filter(|namespace| !namespace.own);
    match namespace.and_then(|namespace| namespace.name.as_deref()) {
        Some(name) if is_plain(name) => format!("ip netns exec {name} {command}"),
        _ => command.to_owned(),
    }
}

/// The command that shows a rule.
pub fn show(scene: &Scene, netns: Option<u32>, nft: Option<&Nft>) -> String {
    let command = match nft {
        Some(nft) if is_plain(&nft.table) && is_plain(&nft.chain) => {
            format!("nft -a list chain {} {} {}", nft.family, nft.table, nft.chain)
        }
        _ => "nft -a list ruleset".to_owned(),
    };
    inside(scene, netns, &command)
}

/// Whether a name needs no quoting in a shell, and is no option.
pub fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte);
    !name.is_empty() && !name.starts_with('-') && name.bytes().all(plain)
}

/// `12 %`; `less than 1 %`.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 1.0 { "less than 1 %".to_owned() } else { format!("{percent:.0} %") }
}

/// `1.5 MB`, `12 kB`, `800 bytes`.
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000 => counted(count, "byte"),
        1_000..1_000_000 => format!("{} kB", count / 1_000),
        _ => format!("{}.{} MB", count / 1_000_000, count / 100_000 % 10),
    }
}
