//! The kernel drops packets that came in by another device than the way back to their source (`rp_filter`).

use tracer_stream::Cause;

use super::{
    case::by_place,
    claims::Claims,
    scene::{Dropped, Scene},
    words::{end, inside, is_plain},
};

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let cases = by_place(scene, claims, is);
    let all = cases.iter().filter_map(|((netns, iface, _, addr, port), case)| {
        let (_, first) = case.groups.first()?;
        let (at, iface) = (scene.in_netns(*netns), iface.as_deref().unwrap_or("an unknown device"));
        let source = first.saddr?;
        let text = format!(
            "{} to {} dropped{at} on {iface} by rp_filter: no route back to {source} leads through {iface}",
            case.of_whom(),
            end(*addr, *port),
        );
        let mut next = vec![inside(scene, *netns, &format!("ip route get {source}"))];
        if is_plain(iface) {
            let all = format!("sysctl net.ipv4.conf.all.rp_filter net.ipv4.conf.{iface}.rp_filter");
            next.insert(0, inside(scene, *netns, &all));
        }
        Some(Cause { certain: true, next, ..case.cause(scene, claims, "rp_filter", text)? })
    });
    all.collect()
}

fn is(group: &Dropped) -> bool {
    &*group.reason == "IP_RPFILTER"
}

#[cfg(test)]
mod tests {
    use tracer_stream::{Drop, Severity};

    use super::super::sample::{Sample, Told, packets};
    use super::*;

    #[test]
    fn the_way_back_is_named() {
        let told = Told::client("app", 8);
        let drop = Drop { reason: Some("IP_RPFILTER".into()), ..packets(&told, 2, 4) };
        let (found, _) = Sample::default().look().open(&told, None).dropped(&drop).run(causes);
        assert_eq!(
            found[0].text,
            "4 SYNs of app[8] to 10.0.2.1:80 dropped in router on eth0 by rp_filter: no route back to 10.0.1.1 leads \
             through eth0"
        );
        assert_eq!((found[0].severity, found[0].next.len()), (Severity::Failure, 2));
        assert!(Sample::default().look().dropped(&packets(&told, 2, 4)).run(causes).0.is_empty());
    }
}
