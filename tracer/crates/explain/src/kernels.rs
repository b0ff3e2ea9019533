//! The kernels that know a name: lists of the names of five kernels, kept beside this file.
//!
//! Each line of `kernels/VERSION.txt` is a kind (`drop`, `reset`, `counter`) and a name. They were
//! made on machines that ran (counters) or had the types of (the rest) these Debian kernels, with
//!
//! ```text
//! names() { bpftool $1 btf dump file $2 format raw | awk -v e="'$3'" -v k=$4 \
//!           '/^\[/{on=($2=="ENUM"&&$3==e);next} on{gsub("\x27","",$1); print k, $1}'; }
//! names "" vmlinux.btf skb_drop_reason drop; names "" vmlinux.btf qdisc_drop_reason drop
//! for m in mac80211 openvswitch; do objcopy -O binary -j .BTF --set-section-flags .BTF=alloc $m.ko $m.btf; done
//! names "-B vmlinux.btf" mac80211.btf mac80211_drop_reason drop
//! names "-B vmlinux.btf" openvswitch.btf ovs_drop_reason drop
//! names "" vmlinux.btf sk_rst_reason reset
//! cat /proc/net/netstat /proc/net/snmp |
//!     awk 'n!=$1{n=$1; p=substr($1,1,length($1)-1); for(i=2;i<=NF;i++) print "counter", p $i; next} {n=""}'
//! awk '{print "counter", $1}' /proc/net/snmp6      # of both, without the lines that end with Type and a number
//! ```

use super::{Entry, Family};

/// The kernels, oldest first, with their lists.
pub const KERNELS: [(&str, &str); 5] = [
    ("5.10", include_str!("kernels/5.10.txt")),
    ("6.1", include_str!("kernels/6.1.txt")),
    ("6.12", include_str!("kernels/6.12.txt")),
    ("6.18", include_str!("kernels/6.18.txt")),
    ("7.3", include_str!("kernels/7.3.txt")),
];

/// The kind that the lists use for names of this family; `None` if they have no such names.
#[must_use]
pub const fn kind(family: Family) -> Option<&'static str> {
    match family {
        Family::Drop | Family::Qdisc | Family::Mac80211 | Family::Openvswitch => Some("drop"),
        Family::Reset => Some("reset"),
        Family::Counter => Some("counter"),
        Family::State
        | Family::Verdict
        | Family::Close
        | Family::Class
        | Family::Errno
        | Family::Event
        | Family::Source
        | Family::Degradation => None,
    }
}

/// Names of one kind in a list.
pub fn names(list: &'static str, kind: &'static str) -> impl Iterator<Item = &'static str> {
    list.lines().filter_map(move |line| line.strip_prefix(kind)?.strip_prefix(' '))
}

/// The kernels of [`KERNELS`] that have `name`; `None` if the lists do not cover its family.
#[must_use]
pub fn having(entry: &Entry, name: &str) -> Option<Vec<&'static str>> {
    let kind = kind(entry.family)?;
    let found: Vec<&str> = KERNELS
        .into_iter()
        .filter(|(_, list)| names(list, kind).any(|other| other == name))
        .map(|(version, _)| version)
        .collect();
    (!found.is_empty()).then_some(found)
}
