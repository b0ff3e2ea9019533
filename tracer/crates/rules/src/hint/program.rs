//! Drops by BPF programs and by filters of traffic control: XDP, tcx, and those of control groups.

use tracer_common::drops::Direction;
use tracer_stream::direction;
use tracer_tables::{netlink::qdisc::Qdisc, programs::Program};

use super::{Hint, Question, Site, Tables};

/// Functions that drop by the verdict of an XDP program, for drops without a reason.
/// `veth_poll`: `veth_xdp_rcv_skb` may be inlined in it (5.10), and only that drops there.
pub const XDP: [&str; 4] = ["do_xdp_generic", "netif_receive_generic_xdp", "veth_xdp_rcv_skb", "veth_poll"];

/// The most programs that a hint names.
const MOST_NAMED: usize = 3;

/// Whether an XDP program has dropped it.
fn is_xdp(site: &Site<'_>) -> bool {
    site.reason == Some("XDP") || site.is_by_function() && XDP.contains(&site.function)
}

/// The table of programs that explains it.
pub fn question(site: &Site<'_>) -> Option<Question> {
    match site.reason {
        Some("TC_INGRESS" | "TC_EGRESS") => Some(Question::Tc),
        Some("BPF_CGROUP_EGRESS" | "SOCKET_FILTER") => Some(Question::Group),
        _ => is_xdp(site).then_some(Question::Xdp),
    }
}

/// The hint from the reason alone.
pub fn by_itself(site: &Site<'_>) -> Option<Hint> {
    let (dev, of) = device(site);
    let text = match site.reason.unwrap_or_default() {
        // Programs of tcx are not among the filters that tc shows.
        "TC_INGRESS" => format!(
            "a filter or program on ingress{of}; see `tc -s filter show dev {dev} ingress` and `bpftool net show dev {dev}`"
        ),
        "TC_EGRESS" => format!(
            "a filter or program on egress{of}; see `tc -s filter show dev {dev} egress` and `bpftool net show dev {dev}`"
        ),
        _ if is_xdp(site) => format!("the XDP program{of}; see `bpftool net show dev {dev}`"),
        "BPF_CGROUP_EGRESS" => "a BPF program of its control group (egress); see `bpftool cgroup tree`".to_owned(),
        "SOCKET_FILTER" if direction(site.direction) == Some("in") => {
            "the receiving socket's filter, or a BPF program of its control group (ingress)".to_owned()
        }
        "SOCKET_FILTER" => "a socket's filter".to_owned(),
        _ => return None,
    };
    Some(Hint::of(text))
}

/// Names the programs of the hook. Without them the hint of the reason stands.
pub fn explain(site: &Site<'_>, ifindex: u32, tables: &Tables<'_>) -> Option<Hint> {
    let programs = tables.programs?;
    let text = match site.reason {
        Some("TC_INGRESS") => traffic_control(site, "ingress", programs, may_filter(ifindex, tables.qdiscs)),
        Some("TC_EGRESS") => traffic_control(site, "egress", programs, may_filter(ifindex, tables.qdiscs)),
        Some("BPF_CGROUP_EGRESS") => group("egress", programs, tables.group?),
        Some("SOCKET_FILTER") if site.direction == Direction::In => {
            let filter = "the receiving socket's filter".to_owned();
            match group("ingress", programs, tables.group?) {
                Some(programs) => Some(format!("{filter}, or {programs}")),
                None => Some(filter),
            }
        }
        Some("SOCKET_FILTER") => None,
        _ => xdp(site, programs),
    };
    text.map(Hint::of)
}

fn xdp(site: &Site<'_>, programs: &[Program]) -> Option<String> {
    let (dev, of) = device(site);
    let program = programs.first()?;
    let (named, id) = (name(program), program.id);
    Some(format!("the XDP program{of}, {named}; see `bpftool prog show id {id}` and `bpftool net show dev {dev}`"))
}

/// Whether the device may have filters of tc: it has the queueing discipline that holds them.
fn may_filter(ifindex: u32, qdiscs: Option<&[Qdisc]>) -> bool {
    let holds = |qdisc: &Qdisc| qdisc.ifindex == ifindex && matches!(&*qdisc.kind, "clsact" | "ingress");
    qdiscs.is_none_or(|qdiscs| qdiscs.iter().any(holds))
}

fn traffic_control(site: &Site<'_>, hook: &str, programs: &[Program], may_filter: bool) -> Option<String> {
    let (dev, of) = device(site);
    let filters = format!("`tc -s filter show dev {dev} {hook}`");
    match programs {
        [] if may_filter => Some(format!("a filter of tc on {hook}{of}; see {filters}")),
        // Neither a filter nor a program: it was detached since the drop.
        [] => None,
        [program] if !may_filter => {
            let id = program.id;
            Some(format!("the tcx program on {hook}{of}, {}; see `bpftool prog show id {id}`", name(program)))
        }
        several => {
            let or = if may_filter { format!(", or a filter of tc ({filters})") } else { String::new() };
            let what = if several.len() == 1 { "the tcx program" } else { "a tcx program" };
            Some(format!("{what} on {hook}{of}, {}{or}; see `bpftool net show dev {dev}`", one_of(several)))
        }
    }
}

/// A socket keeps the group in which it was made, and these are the programs of its owner's group: hence "probably".
fn group(hook: &str, programs: &[Program], path: &str) -> Option<String> {
    let what = match programs {
        [] => return None,
        [program] => format!("probably the BPF program ({hook}) of control group {path}, {}", name(program)),
        several => format!("probably a BPF program ({hook}) of control group {path}, {}", one_of(several)),
    };
    let ids: Vec<u32> = programs.iter().map(|program| program.id).collect();
    Some(match ids.as_slice() {
        [id] => format!("{what}; see `bpftool prog show id {id}`"),
        _ => format!("{what}; see `bpftool cgroup tree`"),
    })
}

fn name(program: &Program) -> String {
    if program.name.is_empty() {
        format!("number {}", program.id)
    } else {
        format!("number {} ({})", program.id, program.name)
    }
}

fn one_of(programs: &[Program]) -> String {
    if let [program] = programs {
        return name(program);
    }
    let names: Vec<String> = programs.iter().take(MOST_NAMED).map(name).collect();
    let more = programs.len() - names.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("one of: {}{more}", names.join(", "))
}

/// The device's name for a command, and for a sentence.
fn device<'s>(site: &Site<'s>) -> (&'s str, String) {
    let of = site.iface.map_or(String::new(), |iface| format!(" of {iface}"));
    (site.iface.unwrap_or("DEV"), of)
}
