//! TCP signatures (MD5 of RFC 2385, TCP-AO) that one end demands and the other lacks, or that do not fit.

use tracer_stream::Cause;

use super::{
    case::by_place,
    claims::Claims,
    scene::{Dropped, Scene},
    words::{end, inside},
};

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let cases = by_place(scene, claims, is);
    let all = cases.iter().filter_map(|((netns, _, reason, addr, port), case)| {
        let fault = match reason.as_str() {
            "TCP_MD5NOTFOUND" | "TCP_AONOTFOUND" => "the receiver demands a signature, and the sender signs none",
            "TCP_MD5UNEXPECTED" | "TCP_AOUNEXPECTED" => "the sender signs, and the receiver has no key for it",
            "TCP_AOKEYNOTFOUND" => "the receiver does not have the key of that number",
            _ => "the two ends have different keys",
        };
        let at = scene.in_netns(*netns);
        let text = format!("{} to {} dropped{at}: {fault} ({reason})", case.of_whom(), end(*addr, *port));
        let next = vec![inside(scene, *netns, "ss -tlnie"), format!("tracer explain {reason}")];
        Some(Cause { certain: true, next, ..case.cause(scene, claims, "tcp_signature", text)? })
    });
    all.collect()
}

fn is(group: &Dropped) -> bool {
    group.reason.starts_with("TCP_MD5") || group.reason.starts_with("TCP_AO")
}

#[cfg(test)]
mod tests {
    use tracer_stream::Drop;

    use super::super::sample::{Sample, Told, packets};
    use super::*;

    #[test]
    fn a_peer_without_a_key_is_named() {
        let told = Told::client("bgp", 8).to("10.0.2.1", 179);
        let drop = Drop { reason: Some("TCP_MD5NOTFOUND".into()), netns: Some(2), ..packets(&told, 2, 3) };
        let (found, _) = Sample::default().look().open(&told, None).dropped(&drop).run(causes);
        assert_eq!(
            found[0].text,
            "3 SYNs of bgp[8] to 10.0.2.1:179 dropped in right: the receiver demands a signature, and the sender signs \
             none (TCP_MD5NOTFOUND)"
        );
        assert!(Sample::default().look().dropped(&packets(&told, 2, 4)).run(causes).0.is_empty());
    }
}
