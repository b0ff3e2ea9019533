//! What is read in a namespace besides its rules.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    path::Path,
    sync::OnceLock,
};

use log::debug;

use crate::proc::{
    enter::Place,
    root::{ProcRoot, denied},
};

/// Of a conntrack table no more than this part is free: it is full, or was a moment ago.
const NEARLY_FULL: u64 = 50;

/// Why rules could not be read.
pub fn why(error: &io::Error) -> String {
    if denied(error) { "reading the rules takes CAP_NET_ADMIN".to_owned() } else { error.to_string() }
}

/// Says that a table cannot be read.
pub fn cannot_read(what: &'static str) -> impl Fn(&io::Error) {
    move |error| debug!("cannot read {what}: {error}")
}

/// Whether tables of iptables-legacy are in use.
pub fn has_legacy_tables(place: &Place) -> bool {
    let legacy = |file: &str| fs::read(place.net.join(file)).is_ok_and(|text| !text.is_empty());
    legacy("ip_tables_names") || legacy("ip6_tables_names")
}

/// Whether the conntrack table is full, or was a moment ago.
pub fn conntrack_is_full(place: &Place) -> bool {
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(place.sysctl.as_ref()?.join("netfilter").join(name)).ok()?.trim().parse().ok()
    };
    let (count, most) = (number("nf_conntrack_count"), number("nf_conntrack_max"));
    count.zip(most).is_some_and(|(count, most)| most > 0 && count >= most - most / NEARLY_FULL)
}

/// Whether this kernel has nftables: loaded, or built in. To ask one without would load the module.
pub fn has_nftables(root: &ProcRoot) -> bool {
    static BUILT_IN: OnceLock<bool> = OnceLock::new();
    Path::new("/sys/module/nf_tables").exists()
        || *BUILT_IN.get_or_init(|| {
            let Ok(symbols) = File::open(root.path().join("kallsyms")) else { return true };
            BufReader::new(symbols).split(b'\n').map_while(Result::ok).any(|line| line.ends_with(b" nft_do_chain"))
        })
}
