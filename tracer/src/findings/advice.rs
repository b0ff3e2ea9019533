//! What to look at next, by what has dropped a packet. Advice that is not of the reason itself sends people to the
//! wrong place.

/// Commands for a drop for this reason, or at this call site where there is none; `None` if nothing particular is known.
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
        _ if is_at(cause, &["do_xdp_generic", "veth_xdp_rcv_skb", "netif_receive_generic_xdp"]) => {
            &["bpftool net show dev DEV", "ip -details link show dev DEV"]
        }
        _ => return None,
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
