//! Reads the tables of a namespace besides its rules.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    path::Path,
    sync::OnceLock,
};

use log::debug;

use crate::netlink;
use crate::proc::{
    enter::Place,
    root::{ProcRoot, denied},
};

/// A conntrack table with at most this part free is full, or was a moment ago.
const NEARLY_FULL: u64 = 50;

/// The reason why rules could not be read.
pub fn why(error: &io::Error) -> String {
    if denied(error) { "reading the rules takes CAP_NET_ADMIN".to_owned() } else { error.to_string() }
}

/// Reports that a table cannot be read.
pub fn cannot_read(what: &'static str) -> impl Fn(&io::Error) {
    move |error| debug!("cannot read {what}: {error}")
}

/// Whether tables of iptables-legacy are in use.
pub fn has_legacy_tables(place: &Place) -> bool {
    let legacy = |file: &str| fs::read(place.net.join(file)).is_ok_and(|text| !text.is_empty());
    legacy("ip_tables_names") || legacy("ip6_tables_names")
}

/// Entries and limit of the conntrack table, if it is full, or was a moment ago.
pub fn full_conntrack(place: &Place) -> Option<(u64, u64)> {
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(place.sysctl.as_ref()?.join("netfilter").join(name)).ok()?.trim().parse().ok()
    };
    let (count, most) = (number("nf_conntrack_count")?, number("nf_conntrack_max")?);
    (most > 0 && count >= most - most / NEARLY_FULL).then_some((count, most))
}

/// Packets that connection tracking has dropped itself in this namespace; `None` if the kernel does not report it.
pub fn conntrack_dropped(root: &ProcRoot, place: &Place) -> Option<u64> {
    // It is not in use, or missing.
    place.sysctl.as_ref()?.join("netfilter/nf_conntrack_count").exists().then_some(())?;
    if let Ok(text) = fs::read_to_string(place.net.join("stat/nf_conntrack")) {
        return dropped_by_columns(&text);
    }
    static BUILT_IN: OnceLock<bool> = OnceLock::new();
    let there = Path::new("/sys/module/nf_conntrack_netlink").exists()
        || *BUILT_IN.get_or_init(|| has_function(root, b" ctnetlink_ct_stat_cpu_dump"));
    if !there {
        return None;
    }
    netlink::conntrack::dropped().inspect_err(cannot_read("the counters of conntrack")).ok()
}

/// The columns `insert_failed` and `drop` of /proc/net/stat/nf_conntrack, a line for each processor, in hexadecimal.
fn dropped_by_columns(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next()?.split_whitespace().collect();
    let columns = ["insert_failed", "drop"].map(|name| names.iter().position(|other| *other == name));
    let mut all = 0;
    for line in lines {
        let numbers: Vec<&str> = line.split_whitespace().collect();
        for column in columns {
            all += u64::from_str_radix(numbers.get(column?)?, 16).ok()?;
        }
    }
    Some(all)
}

fn has_function(root: &ProcRoot, end: &[u8]) -> bool {
    let Ok(symbols) = File::open(root.path().join("kallsyms")) else { return true };
    BufReader::new(symbols).split(b'\n').map_while(Result::ok).any(|line| line.ends_with(end))
}

/// Whether this kernel has nftables: loaded, or built in. A query without that would load the module.
pub fn has_nftables(root: &ProcRoot) -> bool {
    static BUILT_IN: OnceLock<bool> = OnceLock::new();
    Path::new("/sys/module/nf_tables").exists() || *BUILT_IN.get_or_init(|| has_function(root, b" nft_do_chain"))
}

#[cfg(test)]
mod tests {
    use super::dropped_by_columns;

    #[test]
    fn what_conntrack_has_dropped_on_all_processors() {
        let text = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop \
                    icmp_error  expect_new expect_create expect_delete search_restart\n\
                    0000000a  00000000 00000000 00000000 00000003 00000000 00000000 00000000 00000000 00000002 0000000f \
                    00000000 00000000  00000000 00000000 00000000 00000000\n\
                    0000000a  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000001 \
                    00000000 00000000  00000000 00000000 00000000 00000000\n";
        assert_eq!(dropped_by_columns(text), Some(18));
        assert_eq!(dropped_by_columns("entries found\n1 2\n"), None);
        assert_eq!(dropped_by_columns(""), None);
    }
}
