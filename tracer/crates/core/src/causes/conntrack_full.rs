//! Connection tracking has no room: new connections are dropped.

use tracer_stream::Cause;

use super::{
    case::by_place,
    claims::Claims,
    scene::{Dropped, Scene},
    words::{end, inside},
};

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let cases = by_place(scene, claims, is);
    let all = cases.iter().filter_map(|((netns, _, _, addr, port), case)| {
        let (_, first) = case.groups.first()?;
        let (count, most) = first.full_conntrack?;
        let at = scene.in_netns(*netns);
        let text = format!(
            "{} to {} dropped{at}: the table of connection tracking is full there ({count} of {most})",
            case.of_whom(),
            end(*addr, *port),
        );
        let next = vec![
            inside(scene, *netns, "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max"),
            inside(scene, *netns, "conntrack -S"),
        ];
        Some(Cause { certain: true, next, ..case.cause(scene, claims, "conntrack_full", text)? })
    });
    all.collect()
}

fn is(group: &Dropped) -> bool {
    group.full_conntrack.is_some()
}

#[cfg(test)]
mod tests {
    use tracer_stream::{Drop, Hint, Severity};

    use super::super::sample::{Sample, Told, packets};
    use super::*;

    #[test]
    fn a_full_table_is_the_cause_and_no_rule() {
        let told = Told::client("app", 8);
        let hint = Hint { full_conntrack: Some((1000, 1000)), ..Hint::of("the table is full") };
        let drop = Drop { hint: Some(Box::new(hint)), ..packets(&told, 2, 4) };
        let sample = Sample::default().look().open(&told, None).dropped(&drop);
        let (found, claims) = sample.run(causes);
        assert_eq!(
            found[0].text,
            "4 SYNs of app[8] to 10.0.2.1:80 dropped in router: the table of connection tracking is full there (1000 of \
             1000)"
        );
        assert_eq!(found[0].severity, Severity::Failure);
        assert!(claims.has_drop(0));
        assert!(Sample::default().look().dropped(&packets(&told, 2, 4)).run(causes).0.is_empty());
    }
}
