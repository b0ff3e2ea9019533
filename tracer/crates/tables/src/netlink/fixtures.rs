//! Answers of a kernel on a host with a veth pair, addresses, neighbours and listeners: one message a line, in hexadecimal.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{
    nftables::{self, Chain, Rule},
    qdisc::{self, Qdisc},
};

#[cfg(test)]
pub(crate) const ADDR: &str = include_str!("fixtures/addr.hex");
#[cfg(test)]
pub(crate) const LINK: &str = include_str!("fixtures/link.hex");
#[cfg(test)]
pub(crate) const NEIGH: &str = include_str!("fixtures/neigh.hex");
pub(crate) const NFT_CHAIN: &str = include_str!("fixtures/nft_chain.hex");
pub(crate) const NFT_RULE: &str = include_str!("fixtures/nft_rule.hex");
pub(crate) const QDISC: &str = include_str!("fixtures/qdisc.hex");

/// Returns the chains of the kernel's rules.
#[must_use]
pub fn chains() -> Vec<Chain> {
    messages(NFT_CHAIN).iter().map(|message| nftables::chain(message).unwrap()).collect()
}

/// Returns the rules.
#[must_use]
pub fn rules() -> Vec<Rule> {
    messages(NFT_RULE).iter().map(|message| nftables::rule(message).unwrap()).collect()
}

/// Returns its queueing disciplines.
#[must_use]
pub fn qdiscs() -> Vec<Qdisc> {
    messages(QDISC).iter().map(|message| qdisc::parse(message).unwrap()).collect()
}

/// Returns the payloads of the messages in `lines`.
#[must_use]
pub fn messages(lines: &str) -> Vec<Vec<u8>> {
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    lines.lines().map(|line| line.as_bytes().chunks(2).map(byte).collect()).collect()
}
