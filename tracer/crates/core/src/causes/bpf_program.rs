//! A BPF program, or a filter of traffic control, drops packets.

use tracer_stream::Cause;

use super::{
    case::by_place,
    claims::Claims,
    scene::{Dropped, Scene},
    words::{end, inside, is_plain},
};

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let cases = by_place(scene, claims, is);
    let all = cases.iter().filter_map(|((netns, iface, reason, addr, port), case)| {
        let (_, first) = case.groups.first()?;
        let at = scene.in_netns(*netns);
        let on = iface.as_ref().map_or_else(String::new, |iface| format!(" on {iface}"));
        // What stands behind `; see` is a command.
        let words = first.hint.as_deref().map(|hint| hint.split("; see ").next().unwrap_or(hint));
        let by = words.map_or_else(|| reason.clone(), |words| format!("{words} ({reason})"));
        let text = format!("{} to {} dropped{at}{on} by {by}", case.of_whom(), end(*addr, *port));
        let mut next = match iface.as_deref().filter(|iface| is_plain(iface)) {
            Some(iface) => vec![inside(scene, *netns, &format!("bpftool net show dev {iface}"))],
            None => vec!["bpftool cgroup tree".to_owned()],
        };
        if reason.starts_with("TC_")
            && let Some(iface) = iface.as_deref().filter(|iface| is_plain(iface))
        {
            let hook = if reason == "TC_EGRESS" { "egress" } else { "ingress" };
            next.push(inside(scene, *netns, &format!("tc -s filter show dev {iface} {hook}")));
        }
        let certain = words.is_some_and(|words| !words.starts_with("probably") && !words.contains("one of"));
        Some(Cause { certain, next, ..case.cause(scene, claims, "bpf_program", text)? })
    });
    all.collect()
}

fn is(group: &Dropped) -> bool {
    ["XDP", "TC_INGRESS", "TC_EGRESS", "BPF_CGROUP_EGRESS", "SOCKET_FILTER"].contains(&&*group.reason)
}

#[cfg(test)]
mod tests {
    use tracer_stream::{Drop, Hint};

    use super::super::sample::{Sample, Told, packets};
    use super::*;

    #[test]
    fn the_program_has_its_name() {
        let told = Told::client("app", 8);
        let hint = "the XDP program of eth0, number 7 (guard); see `bpftool prog show id 7`";
        let hint = Some(Box::new(Hint::of(hint)));
        let drop = Drop { reason: Some("XDP".into()), hint, ..packets(&told, 2, 4) };
        let (found, _) = Sample::default().look().open(&told, None).dropped(&drop).run(causes);
        assert_eq!(
            found[0].text,
            "4 SYNs of app[8] to 10.0.2.1:80 dropped in router on eth0 by the XDP program of eth0, number 7 (guard) (XDP)"
        );
        assert!(found[0].certain && found[0].next[0] == "ip netns exec router bpftool net show dev eth0");
        assert!(Sample::default().look().dropped(&packets(&told, 2, 4)).run(causes).0.is_empty());
    }
}
