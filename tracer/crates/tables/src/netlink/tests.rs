//! Tests of the tables: messages of a real kernel, and garbage.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::IpAddr;

use super::fixtures::{ADDR, LINK, NEIGH, NFT_CHAIN, NFT_RULE, QDISC, messages};
use super::message::{Answer, request};
use super::{addr, conntrack, link, neigh, nftables, qdisc};
use tracer_fuzz::fuzz;

#[test]
fn what_ip_said_there() {
    let links: Vec<_> = messages(LINK).iter().map(|message| link::parse(message).unwrap()).collect();
    let names: Vec<_> = links.iter().map(|link| (link.name.as_str(), link.up, link.loopback)).collect();
    assert!(names.contains(&("lo", true, true)) && names.contains(&("wire", true, false)), "{names:?}");
    assert_eq!(links.iter().find(|link| link.name == "wire").unwrap().mtu, Some(1500));
    let wire = links.iter().find(|link| link.name == "wire").unwrap().ifindex;

    let addresses: Vec<_> = messages(ADDR).iter().map(|message| addr::parse(message).unwrap()).collect();
    for (text, prefix) in [("10.7.0.1", 24), ("fd07::1", 64)] {
        let address = addr::Address { ifindex: wire, address: text.parse().unwrap(), prefix };
        assert!(addresses.contains(&address), "{addresses:?}");
    }

    let neighbours: Vec<_> = messages(NEIGH).iter().filter_map(|message| neigh::parse(message)).collect();
    for (address, state) in [("10.7.0.2", "PERMANENT"), ("fd07::2", "STALE")] {
        let neighbour = neighbours.iter().find(|n| n.address == address.parse::<IpAddr>().unwrap()).unwrap();
        assert_eq!((neighbour.state_name(), &neighbour.lladdr[..]), (state, &[2, 0, 0, 0, 0, 2][..]));
    }
}

#[test]
fn garbage_is_no_row_and_no_panic() {
    let payloads = [LINK, ADDR, NEIGH, NFT_CHAIN, NFT_RULE, QDISC].map(messages).concat();
    fuzz(&payloads, |input| {
        let _ = (link::parse(input), addr::parse(input), neigh::parse(input));
        let _ = (nftables::chain(input), nftables::rule(input), qdisc::parse(input));
        let _ = (nftables::set(input), nftables::elements(input).count(), conntrack::dropped(input));
    });
    let datagrams: Vec<Vec<u8>> = payloads
        .chunks(3)
        .map(|payloads| payloads.iter().flat_map(|payload| request(16, 1, payload)).collect())
        .collect();
    fuzz(&datagrams, |input| {
        let mut told = 0;
        let _ = Answer::new(1, 16).take(input, |payload| told += payload.len());
        assert!(told <= input.len(), "{input:?}");
    });
}
