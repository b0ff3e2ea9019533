//! Commands for further diagnosis, by the cause of a drop. General advice sends people to the wrong place, so each
//! reason has its own.

use std::borrow::Cow;

use tracer_rules::hint;

use super::Case;

/// The rule about SYNs that policy drops: its advice depends on the cause.
pub(super) const POLICY: &str = "syn_dropped_by_policy";

/// Commands for a drop with this reason, or at this call site if there is none; `None` if nothing specific is known.
#[must_use]
pub fn of(cause: &str) -> Option<&'static [&'static str]> {
    Some(match cause {
        _ if cause.starts_with("TCP_MD5") => &[
            "tracer explain TCP_MD5NOTFOUND",
            "ss -tlnie",
            "nstat -az TcpExtTCPMD5NotFound TcpExtTCPMD5Unexpected TcpExtTCPMD5Failure",
        ],
        _ if cause.starts_with("TCP_AO") => &[
            "tracer explain TCP_AONOTFOUND",
            "ss -tlnie",
            "nstat -az TcpExtTCPAOBad TcpExtTCPAOKeyNotFound TcpExtTCPAORequired",
        ],
        _ if cause.starts_with("XFRM") => &["ip xfrm policy", "ip -s xfrm state", "cat /proc/net/xfrm_stat"],
        _ if cause.starts_with("QDISC") || cause.starts_with("FQ_") || cause.starts_with("CAKE_") => {
            &["tc -s qdisc show dev DEV", "tracer explain QDISC_DROP"]
        }
        "IP_RPFILTER" => &[
            "sysctl net.ipv4.conf.all.rp_filter net.ipv4.conf.DEV.rp_filter",
            "ip route get SOURCE",
            "tracer explain IP_RPFILTER",
        ],
        "XDP" => &["bpftool net show dev DEV", "ip -details link show dev DEV", "tracer explain XDP"],
        "NETFILTER_DROP" => &["nft list ruleset", "tracer explain NETFILTER_DROP"],
        "TC_INGRESS" => &["tc -s filter show dev DEV ingress", "bpftool net show dev DEV"],
        "TC_EGRESS" => &["tc -s filter show dev DEV egress", "bpftool net show dev DEV"],
        "BPF_CGROUP_EGRESS" => &["bpftool cgroup tree", "tracer explain BPF_CGROUP_EGRESS"],
        "SOCKET_FILTER" => &["ss -tlne --bpf", "bpftool cgroup tree", "tracer explain SOCKET_FILTER"],
        _ if is_at(cause, &["nft_do_chain", "nf_hook_slow"]) => &["nft list ruleset"],
        _ if is_at(cause, &["ipt_do_table"]) => &["iptables-legacy -vnL"],
        _ if is_at(cause, &["ip6t_do_table"]) => &["ip6tables-legacy -vnL"],
        _ if is_at(cause, &hint::XDP) => &["bpftool net show dev DEV", "ip -details link show dev DEV"],
        _ => return None,
    })
}

/// Commands for this case; `None`: those of its rule apply.
#[must_use]
pub fn of_case(rule: &str, case: &Case) -> Option<&'static [&'static str]> {
    match rule {
        POLICY => of(case.subject.what.as_deref()?),
        "cannot_bind" => match errno(case)? {
            "EADDRINUSE" => None,
            "EADDRNOTAVAIL" => Some(&["ip addr", "sysctl net.ipv4.ip_nonlocal_bind", "tracer explain ERRNO"]),
            "EACCES" => Some(&[
                "sysctl net.ipv4.ip_unprivileged_port_start",
                "grep CapEff /proc/PID/status",
                "tracer explain ERRNO",
            ]),
            _ => Some(&["tracer explain ERRNO"]),
        },
        "peer_unreachable" => match (case.subject.icmp, &case.subject.what) {
            (Some(icmp), _) if icmp.is_prohibition() => Some(&["nft list ruleset", "ip route get ADDRESS"]),
            (Some(_), _) => Some(&["ip route get ADDRESS", "tracepath -n ADDRESS"]),
            // The result of a prohibition by ICMPv6, from a firewall or a route.
            (None, Some(errno)) if errno.as_ref() == "EACCES" => Some(&["nft list ruleset", "ip route get ADDRESS"]),
            (None, Some(_)) => Some(&["ip route get ADDRESS", "ip rule"]),
            (None, None) => None,
        },
        "discarded" => case.discard.as_ref().map(|discard| of_counter(discard.counter)),
        _ => None,
    }
}

/// Commands for a counter.
fn of_counter(counter: &str) -> &'static [&'static str] {
    match counter {
        _ if counter.starts_with("conntrack_") => {
            &["conntrack -S", "sysctl net.netfilter.nf_conntrack_max", "tracer explain COUNTER"]
        }
        _ if counter.starts_with("TcpExtTCPReqQFull") => {
            &["ss -lnt", "sysctl net.ipv4.tcp_max_syn_backlog net.ipv4.tcp_syncookies", "tracer explain COUNTER"]
        }
        _ if counter.starts_with("Udp") => &["ss -uamp", "nstat -az COUNTER", "tracer explain COUNTER"],
        _ if counter.starts_with("rx_") => &["ip -s link show dev DEV", "ethtool -S DEV", "tracer explain COUNTER"],
        "qdisc_drops" => &["tc -s qdisc show dev DEV", "tracer explain COUNTER"],
        "softnet_dropped" => {
            &["cat /proc/net/softnet_stat", "sysctl net.core.netdev_max_backlog", "tracer explain COUNTER"]
        }
        _ => &["nstat -az COUNTER", "tracer net", "tracer explain COUNTER"],
    }
}

/// The error in a sentence about a call.
fn errno(case: &Case) -> Option<&str> {
    let (_, after) = case.subject.what.as_deref()?.split_once(": ")?;
    after.split([',', ' ']).next()
}

/// A command with the names of this case, if they are known and need no quoting in a shell.
#[must_use]
pub fn filled(command: &'static str, case: &Case) -> Cow<'static, str> {
    let discard = case.discard.as_ref();
    let names = [
        ("COUNTER", discard.map(|discard| discard.counter.to_owned())),
        ("DEV", discard.and_then(|discard| discard.iface.as_deref()).or(case.iface.as_deref()).map(str::to_owned)),
        ("SOURCE", case.source.map(|addr| addr.to_string())),
        ("ERRNO", errno(case).map(str::to_owned)),
        ("REASON", case.subject.what.as_deref().map(str::to_owned)),
        ("ADDRESS", case.subject.addr.map(|addr| addr.to_string())),
        ("PID", case.subject.pid.map(|pid| pid.to_string())),
    ];
    let plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte));
    names.into_iter().fold(Cow::Borrowed(command), |command, (placeholder, name)| match name {
        Some(name) if command.contains(placeholder) && !name.starts_with('-') && plain(&name) => {
            command.replace(placeholder, &name).into()
        }
        _ => command,
    })
}

fn is_at(cause: &str, functions: &[&str]) -> bool {
    functions.contains(&cause.split(['+', '.']).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn only_a_drop_by_netfilter_leads_to_the_firewall() {
        let leads = |cause: &str| of(cause).is_some_and(|look| look.iter().any(|command| command.starts_with("nft ")));
        for cause in ["NETFILTER_DROP", "nft_do_chain+0x3f1", "nf_hook_slow+0xa1"] {
            assert!(leads(cause), "{cause}");
        }
        for cause in [
            "TCP_MD5NOTFOUND",
            "TCP_MD5UNEXPECTED",
            "TCP_MD5FAILURE",
            "TCP_AOKEYNOTFOUND",
            "IP_RPFILTER",
            "XDP",
            "QDISC_DROP",
            "SOCKET_FILTER",
            "XFRM_POLICY",
            "BPF_CGROUP_EGRESS",
            "TC_INGRESS",
            "TC_EGRESS",
            "do_xdp_generic+0x1",
        ] {
            assert!(of(cause).is_some() && !leads(cause), "{cause}");
        }
        assert_eq!(of("NOT_SPECIFIED"), None);
    }
}
