//! Packets are too large for a device on the way, and their sender does not learn it.

use tracer_stream::{Cause, Severity};

use super::{
    case::by_place,
    claims::Claims,
    scene::{Carried, Dropped, Scene},
    words::{dropper, end, inside, is_plain, show},
};

/// The least number of packets: the first one tells the sender, whose next ones are smaller.
const LEAST: u64 = 4;

pub(super) fn causes(scene: &Scene, claims: &mut Claims) -> Vec<Cause> {
    let messages: Vec<_> = scene.drops.groups().filter(|(_, group)| says_too_big(group)).collect();
    let cases = by_place(scene, claims, |group| &*group.reason == "PKT_TOO_BIG");
    let mut found = Vec::new();
    for ((netns, iface, _, addr, port), case) in &cases {
        let Some((_, first)) = case.groups.first() else { continue };
        // The message goes to the sender of the packet, and names its destination.
        let lost = messages.iter().find(|(_, message)| {
            message.daddr == first.saddr && message.about.is_some_and(|(_, to, _)| Some(to) == first.daddr)
        });
        let again = case.conns.iter().any(|conn| conn.data_retransmits > 0);
        if lost.is_none() && (case.count() < LEAST || !again) {
            continue;
        }
        let (at, iface) = (scene.in_netns(*netns), iface.as_deref().unwrap_or("a device"));
        let mtu = netns.and_then(|netns| scene.host().namespace(netns));
        let mtu = mtu.and_then(|home| home.devices.iter().find(|device| device.name == iface)).map(|device| device.mtu);
        let mtu = mtu.map_or_else(String::new, |mtu| format!(" (MTU {mtu})"));
        let why = match lost {
            Some((_, message)) => format!(
                "the ICMP message that says so is dropped{} by {}",
                scene.in_netns(message.netns),
                dropper(message)
            ),
            None => "their sender goes on as before".to_owned(),
        };
        let text = format!(
            "{} to {} dropped{at}: too large for the way behind {iface}{mtu}, and {why}",
            case.of_whom(),
            end(*addr, *port),
        );
        let mut next = Vec::new();
        if let Some((number, message)) = lost {
            claims.drop(*number);
            next.push(show(scene, message.netns, message.rule()));
        }
        if is_plain(iface) {
            next.push(inside(scene, *netns, &format!("ip link show dev {iface}")));
        }
        found.extend(case.cause(scene, claims, "mtu", text).map(|cause| Cause {
            certain: lost.is_some(),
            severity: if cause.sufferers.is_empty() { Severity::Policy } else { Severity::Failure },
            next,
            ..cause
        }));
    }
    found
}

/// Whether they are dropped messages that a packet was too large.
fn says_too_big(group: &Dropped) -> bool {
    let is = |icmp: tracer_stream::Icmp| matches!((icmp.v6, icmp.kind, icmp.code), (false, 3, 4) | (true, 2, 0));
    group.carried == Carried::Icmp && group.icmp.is_some_and(is)
}

#[cfg(test)]
mod tests {
    use tracer_stream::{Drop, DropClass, PacketEnds, Segment};

    use super::super::sample::{Sample, Told, ip, nft, packets};
    use super::*;

    fn too_big(count: u64) -> Drop {
        let (reason, class) = (Some("PKT_TOO_BIG".into()), DropClass::Loss);
        Drop { reason, class, ..packets(&Told::client("sync", 8), 0x18, count) }
    }

    #[test]
    fn the_message_that_was_dropped_explains_the_silence() {
        let told = Told::client("sync", 8);
        let about =
            PacketEnds { saddr: told.local.0, sport: Some(told.local.1), daddr: told.remote.0, dport: Some(80) };
        let message = Drop {
            protocol: Some("icmp"),
            icmp: Some((3, 4)),
            netns: Some(1),
            about: Some(("tcp", about)),
            ends: Some(PacketEnds { saddr: ip("10.0.1.254"), sport: None, daddr: told.local.0, dport: None }),
            hint: nft("input", 5, "icmp drop"),
            ..packets(&told, 0, 2)
        };
        let sample = Sample::default().look().open(&told, Some(false)).dropped(&too_big(2)).dropped(&message);
        let (found, claims) = sample.run(causes);
        assert_eq!(
            found[0].text,
            "2 segments of sync[8] to 10.0.2.1:80 dropped in router: too large for the way behind eth0 (MTU 1500), and \
             the ICMP message that says so is dropped in left by nft inet fw input handle 5 \"icmp drop\""
        );
        assert!(found[0].certain && claims.has_drop(0) && claims.has_drop(1));
    }

    #[test]
    fn one_packet_that_tells_its_sender_is_how_it_works() {
        let told = Told::client("sync", 8);
        let sample = Sample::default().look().open(&told, Some(false)).again(&told, Segment::Data, 1);
        assert!(sample.dropped(&too_big(1)).run(causes).0.is_empty());
    }
}
