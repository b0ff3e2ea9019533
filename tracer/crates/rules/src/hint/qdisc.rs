//! Drops by queueing disciplines.

use tracer_stream::Discipline;
use tracer_tables::netlink::qdisc::Qdisc;

use super::{Hint, Site};

/// Functions that free packets dropped by a queueing discipline, and others, too.
const SITES: [&str; 4] = ["__dev_queue_xmit", "__dev_xmit_skb", "dev_qdisc_enqueue", "kfree_skb_list"];

fn has_reason(site: &Site<'_>) -> bool {
    site.reason.is_some_and(|reason| {
        // The first word of `enum qdisc_drop_reason`, and the prefixes before it existed.
        ["QDISC_", "FQ_", "CAKE_"].iter().any(|start| reason.starts_with(start))
    })
}

/// Whether a queueing discipline dropped it, or may have if the kernel gives no reason.
pub fn is_qdisc(site: &Site<'_>) -> bool {
    let function = site.function;
    has_reason(site) || site.is_by_function() && (SITES.contains(&function) || is_enqueue(function))
}

fn is_enqueue(function: &str) -> bool {
    function.ends_with("_enqueue") && !function.starts_with("nf_") && function != "dev_qdisc_enqueue"
}

/// Names the device's queueing discipline.
pub fn explain(site: &Site<'_>, ifindex: u32, all: &[Qdisc]) -> Option<Hint> {
    let of_device = all.iter().filter(|qdisc| qdisc.ifindex == ifindex && !qdisc.has_no_queue());
    // The table is newer than the drop, so it includes the drop.
    let mut may: Vec<&Qdisc> = of_device.filter(|qdisc| qdisc.drops != Some(0)).collect();
    let function = site.function;
    let named: Vec<&Qdisc> = may.iter().copied().filter(|qdisc| is_of(function, &qdisc.kind)).collect();
    let sure = has_reason(site) || !named.is_empty();
    if !named.is_empty() {
        may = named;
    }
    let on = site.iface.map_or(String::new(), |iface| format!(" on {iface}"));
    let name = |qdisc: &Qdisc| format!("{} {}", qdisc.kind, qdisc.handle_text());
    let probably = if sure { "" } else { "probably " };
    match may.as_slice() {
        [] => None,
        [qdisc] => Some(Hint {
            text: format!("{probably}qdisc {}{on}", name(qdisc)),
            qdisc: sure.then(|| Discipline { kind: qdisc.kind.clone(), handle: qdisc.handle_text() }),
            ..Hint::default()
        }),
        // A parent counts the drops of its classes, too.
        several => {
            let root = several.iter().find(|qdisc| qdisc.is_root());
            let text = match root {
                Some(root) => format!("qdisc {} or one of {} below it", name(root), several.len() - 1),
                None => {
                    let names: Vec<String> = several.iter().take(3).map(|qdisc| name(qdisc)).collect();
                    let more = several.len() - names.len();
                    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                    format!("qdisc, one of: {}{more}", names.join(", "))
                }
            };
            Some(Hint::of(format!("{probably}{text}{on}")))
        }
    }
}

/// Whether `function` belongs to this kind (`pfifo_fast_enqueue` is not pfifo's).
fn is_of(function: &str, kind: &str) -> bool {
    let after = function.strip_prefix(kind).and_then(|rest| rest.strip_prefix('_'));
    after.is_some_and(|rest| {
        ["enqueue", "dequeue", "drop", "tail_enqueue", "qdisc"].iter().any(|of| rest.starts_with(of))
    })
}
