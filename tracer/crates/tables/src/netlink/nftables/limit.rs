//! Limits of rules, as nft writes them (net/netfilter/nft_limit.c, nft_quota.c, nft_connlimit.c).

use super::{
    expression::{EXPRESSION_DATA, EXPRESSION_NAME},
    find, number,
};
use crate::netlink::attribute::{Attributes, be64_at};

const LIMIT_RATE: u16 = 1;
const LIMIT_UNIT: u16 = 2;
const LIMIT_BURST: u16 = 3;
const LIMIT_TYPE: u16 = 4;
const LIMIT_FLAGS: u16 = 5;
const QUOTA_BYTES: u16 = 1;
const CONNLIMIT_COUNT: u16 = 1;
/// Of a quota and of a limit of connections, too.
const FLAGS: u16 = 2;
/// `NFT_LIMIT_F_INV`, `NFT_QUOTA_F_INV`, `NFT_CONNLIMIT_F_INV`.
const OVER: u32 = 1;
/// `NFT_LIMIT_PKT_BYTES`.
const BYTES: u32 = 1;
const DYNSET_EXPR: u16 = 7;
const DYNSET_EXPRESSIONS: u16 = 10;

/// `limit rate over 1500 kbytes/second burst 96 kbytes`, `ct count over 7`; `None` if it is no limit.
pub(super) fn words(name: &[u8], data: &[u8]) -> Option<Box<str>> {
    let over = |kind| if find(data, kind).and_then(number).unwrap_or(0) & OVER != 0 { "over " } else { "" };
    let text = match name {
        b"limit" => {
            let of = |kind| find(data, kind).and_then(|value| be64_at(value, 0));
            let (rate, unit) = (of(LIMIT_RATE)?, unit(of(LIMIT_UNIT)?)?);
            let burst = find(data, LIMIT_BURST).and_then(number).unwrap_or(0);
            let over = over(LIMIT_FLAGS);
            if find(data, LIMIT_TYPE).and_then(number) == Some(BYTES) {
                let burst = if burst == 0 { String::new() } else { format!(" burst {}", bytes(burst.into())) };
                format!("limit rate {over}{}/{unit}{burst}", bytes(rate))
            } else {
                format!("limit rate {over}{rate}/{unit} burst {burst} packets")
            }
        }
        b"quota" => {
            let most = find(data, QUOTA_BYTES).and_then(|value| be64_at(value, 0))?;
            format!("quota {}{}", over(FLAGS), bytes(most))
        }
        b"connlimit" => {
            let most = find(data, CONNLIMIT_COUNT).and_then(number)?;
            format!("ct count {}{most}", over(FLAGS))
        }
        _ => return None,
    };
    Some(text.into())
}

/// The limit that each key of a set has.
pub(super) fn of_key(dynset: &[u8]) -> Option<Box<str>> {
    let one = |expression| words(named(expression)?, find(expression, EXPRESSION_DATA)?);
    let several = find(dynset, DYNSET_EXPRESSIONS);
    several
        .and_then(|all| Attributes::of(all).find_map(|(_, expression)| one(expression)))
        .or_else(|| one(find(dynset, DYNSET_EXPR)?))
}

fn named(expression: &[u8]) -> Option<&[u8]> {
    let name = find(expression, EXPRESSION_NAME)?;
    Some(name.strip_suffix(b"\0").unwrap_or(name))
}

fn unit(seconds: u64) -> Option<&'static str> {
    Some(match seconds {
        1 => "second",
        60 => "minute",
        3_600 => "hour",
        86_400 => "day",
        604_800 => "week",
        _ => return None,
    })
}

/// In the largest unit that divides it, as nft does.
fn bytes(count: u64) -> String {
    match count {
        count if count > 0 && count.is_multiple_of(1 << 20) => format!("{} mbytes", count >> 20),
        count if count > 0 && count.is_multiple_of(1 << 10) => format!("{} kbytes", count >> 10),
        count => format!("{count} bytes"),
    }
}
