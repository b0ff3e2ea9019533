//! Places and rules in words, as `nft -a list ruleset` writes them.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::{BRIDGE, INET, IPV4, IPV6, NETDEV, Place};
use crate::core::packets::protocol;
use crate::netlink::attribute::address;
use crate::netlink::nftables::{Action, Load, Operator, Rule, Step};

/// `NFPROTO_ARP`.
const ARP: u8 = 3;

pub const fn family(family: u8) -> &'static str {
    match family {
        INET => "inet",
        IPV4 => "ip",
        ARP => "arp",
        NETDEV => "netdev",
        BRIDGE => "bridge",
        IPV6 => "ip6",
        _ => "nft",
    }
}

/// `nft: table inet filter, chain input, handle 5 (tcp dport 4000 drop)`. Without certainty that
/// it was one of `places`: `probably`.
pub fn places(places: &[Place], more: usize, certain: bool) -> Option<String> {
    let mut text = String::from(if certain { "" } else { "probably " });
    // Writing to a String does not fail.
    match places {
        [] => return None,
        [place] => {
            let _ = write!(text, "nft: table {} {}, chain {}, ", place.family, place.table, place.chain);
            let _ = match place.handle {
                Some(handle) => write!(text, "handle {handle}"),
                None => write!(text, "policy drop"),
            };
            if let Some(words) = &place.words {
                let _ = write!(text, " ({words})");
            }
        }
        _ => {
            text.push_str("nft, one of: ");
            for (n, place) in places.iter().take(3).enumerate() {
                let _ =
                    write!(text, "{}{} {} {} ", if n > 0 { ", " } else { "" }, place.family, place.table, place.chain);
                let _ = match place.handle {
                    Some(handle) => write!(text, "handle {handle}"),
                    None => write!(text, "policy"),
                };
            }
            let more = places.len().saturating_sub(3) + more;
            if more > 0 {
                let _ = write!(text, " and {more} more");
            }
        }
    }
    Some(text)
}

/// A rule that drops, if all of it is understood, or else its comment. Hostile bytes.
pub fn rule(rule: &Rule) -> Option<String> {
    let comment = rule.comment.as_ref().map(|comment| format!("\"{comment}\""));
    let action = match rule.action {
        Action::Drop => "drop",
        Action::Reject => "reject",
        _ => return comment.or_else(|| Some("verdict map".to_owned())),
    };
    let Some(mut words) = steps(&rule.steps) else { return comment };
    words.push(action.to_owned());
    words.extend(comment);
    Some(words.join(" "))
}

/// What the steps ask for; `None` if they are not all understood.
fn steps(steps: &[Step]) -> Option<Vec<String>> {
    let (mut words, mut transport) = (Vec::new(), None);
    let mut rest = steps;
    while let Some((step, after)) = rest.split_first() {
        let Step::Load { what, register, length } = step else { return None };
        let (comparison, after) = comparison(*register, *length, after)?;
        let value = comparison.value;
        match what {
            // Implied by what stands beside it.
            Load::NfProto | Load::Protocol if comparison.is_equal() => {}
            Load::L4Proto if comparison.is_equal() => {
                transport = value.first().map(|number| protocol(*number)).filter(|name| *name != "ip");
                words.push(format!("meta l4proto {}", transport?));
            }
            Load::Transport(offset @ (0 | 2)) if *length == 2 => {
                let is_alone = words.last().is_some_and(|word| word.starts_with("meta l4proto"));
                if is_alone {
                    words.pop();
                }
                let name = if *offset == 0 { "sport" } else { "dport" };
                words.push(format!("{} {name} {}", transport?, comparison.words(port)?));
            }
            Load::Network(offset) => {
                let (family, size, name) = match offset {
                    12 if *length <= 4 => ("ip", 4, "saddr"),
                    16 if *length <= 4 => ("ip", 4, "daddr"),
                    8 if *length > 4 => ("ip6", 16, "saddr"),
                    24 if *length > 4 => ("ip6", 16, "daddr"),
                    _ => return None,
                };
                let addr = |bytes: &[u8]| {
                    let mut whole = bytes.to_vec();
                    whole.resize(size, 0);
                    let addr: IpAddr = address(&whole)?;
                    let prefix = bytes.len() * 8;
                    Some(if bytes.len() == size { addr.to_string() } else { format!("{addr}/{prefix}") })
                };
                words.push(format!("{family} {name} {}", comparison.words(addr)?));
            }
            Load::IifName | Load::OifName => {
                let name = if *what == Load::IifName { "iifname" } else { "oifname" };
                let text = |bytes: &[u8]| {
                    let text = String::from_utf8_lossy(bytes).into_owned();
                    Some(match text.split_once('\0') {
                        Some((name, _)) => format!("\"{name}\""),
                        None => format!("\"{text}*\""),
                    })
                };
                words.push(format!("{name} {}", comparison.words(text)?));
            }
            _ => return None,
        }
        rest = after;
    }
    Some(words)
}

/// What a load is compared with.
struct Comparison<'s> {
    operator: Operator,
    value: &'s [u8],
    /// The end of a range.
    last: Option<&'s [u8]>,
}

impl Comparison<'_> {
    fn is_equal(&self) -> bool {
        self.operator == Operator::Equal && self.last.is_none()
    }

    fn words(&self, write: impl Fn(&[u8]) -> Option<String>) -> Option<String> {
        let value = write(self.value)?;
        if let Some(last) = self.last {
            let not = if self.operator == Operator::NotEqual { "!= " } else { "" };
            return Some(format!("{not}{value}-{}", write(last)?));
        }
        let operator = match self.operator {
            Operator::Equal => "",
            Operator::NotEqual => "!= ",
            Operator::Less => "< ",
            Operator::LessOrEqual => "<= ",
            Operator::Greater => "> ",
            Operator::GreaterOrEqual => ">= ",
        };
        Some(format!("{operator}{value}"))
    }
}

fn comparison(loaded: usize, length: usize, steps: &[Step]) -> Option<(Comparison<'_>, &[Step])> {
    match steps {
        [
            Step::Compare { register: first, operator: Operator::GreaterOrEqual, with: from },
            Step::Compare { register: second, operator: Operator::LessOrEqual, with: to },
            rest @ ..,
        ] if *first == loaded && *second == loaded => {
            Some((Comparison { operator: Operator::Equal, value: from, last: Some(to) }, rest))
        }
        // An address with a prefix that ends within a byte needs a mask, and is not told.
        [Step::Compare { register, operator, with }, rest @ ..]
            if *register == loaded && with.len() <= length.max(16) =>
        {
            Some((Comparison { operator: *operator, value: with, last: None }, rest))
        }
        [Step::Range { register, within, from, to }, rest @ ..] if *register == loaded => {
            let operator = if *within { Operator::Equal } else { Operator::NotEqual };
            Some((Comparison { operator, value: from, last: Some(to) }, rest))
        }
        _ => None,
    }
}

fn port(bytes: &[u8]) -> Option<String> {
    Some(u16::from_be_bytes(bytes.try_into().ok()?).to_string())
}
