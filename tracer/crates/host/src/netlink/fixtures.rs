//! Answers of a kernel on a host with a veth pair, addresses, neighbours and listeners.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{
    nftables::{self, Chain, Rule},
    qdisc::{self, Qdisc},
};

/// Returns the chains of the kernel's rules.
#[must_use]
pub fn chains() -> Vec<Chain> {
    messages("netlink/fixtures/nft_chain").iter().map(|message| nftables::chain(message).unwrap()).collect()
}

/// Returns the rules.
#[must_use]
pub fn rules() -> Vec<Rule> {
    messages("netlink/fixtures/nft_rule").iter().map(|message| nftables::rule(message).unwrap()).collect()
}

/// Returns its queueing disciplines.
#[must_use]
pub fn qdiscs() -> Vec<Qdisc> {
    messages("netlink/fixtures/qdisc").iter().map(|message| qdisc::parse(message).unwrap()).collect()
}

/// Reads the payloads of the messages in `src/PATH.hex`, one a line in hexadecimal.
pub(crate) fn messages(path: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/src/{path}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    text.lines().map(|line| line.as_bytes().chunks(2).map(byte).collect()).collect()
}
