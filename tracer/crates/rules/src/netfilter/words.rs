//! Places and rules in words, as `nft -a list ruleset` writes them.

use std::fmt::Write as _;
use std::net::IpAddr;

use tracer_stream::protocol;
use tracer_tables::netlink::attribute::address;
use tracer_tables::netlink::nftables::{Action, Element, Load, Operator, Rule, Set, Step, Value};

use super::sets::Lookup;
use super::{BRIDGE, INET, IPV4, IPV6, NETDEV, Place};

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

/// A rule, close to how nft writes it, with its comment; `…` stands for unknown parts. Hostile bytes.
pub fn rule(rule: &Rule, sets: &[Lookup]) -> String {
    let mut words = Words { sets, words: Vec::new(), loaded: Vec::new(), transport: None };
    words.steps(&rule.steps);
    if let Some(map) = &rule.map {
        words.lookup(&map.set, map.index, map.register, "vmap ", false);
    }
    let mut all = words.words;
    match (&rule.action, &rule.map) {
        (Action::MayDrop, Some(_)) | (Action::Pass, _) => {}
        (action, _) => all.push(verdict(action)),
    }
    all.extend(rule.comment.as_ref().map(|comment| format!("comment \"{comment}\"")));
    all.join(" ")
}

fn verdict(action: &Action) -> String {
    match action {
        Action::Drop => "drop".to_owned(),
        Action::Reject => "reject".to_owned(),
        Action::MayDrop => "vmap \u{2026}".to_owned(),
        Action::Accept => "accept".to_owned(),
        Action::Return => "return".to_owned(),
        Action::Jump(chain) => format!("jump {chain}"),
        Action::Goto(chain) => format!("goto {chain}"),
        Action::Pass => "continue".to_owned(),
    }
}

/// The placeholder for unknown parts.
const UNKNOWN: &str = "\u{2026}";
/// The most elements of a set that are written.
const MOST_ELEMENTS: usize = 8;

/// The content of a register, and its notation.
#[derive(Clone, Copy)]
struct Loaded {
    register: usize,
    length: usize,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Known(Load),
    /// In the words of nft.
    Unknown(&'static str),
}

struct Words<'s> {
    sets: &'s [Lookup],
    words: Vec<String>,
    loaded: Vec<Loaded>,
    transport: Option<&'static str>,
}

impl Words<'_> {
    fn unknown(&mut self) {
        if self.words.last().is_none_or(|word| word != UNKNOWN) {
            self.words.push(UNKNOWN.to_owned());
        }
    }

    fn steps(&mut self, mut rest: &[Step]) {
        while let Some((step, after)) = rest.split_first() {
            rest = after;
            match step {
                Step::Load { what, register, length } => self.load(*register, *length, What::Known(*what)),
                Step::Unknown { register, what } => self.load(*register, 4, What::Unknown(what)),
                Step::Lookup { set, index, register, inverse, to } => {
                    let map = if to.is_some() { "map " } else { "" };
                    self.lookup(set, *index, *register, map, *inverse);
                }
                Step::Bitwise { from, to, mask, xor } => {
                    let masked = self.masked(*from, *to, mask, xor, rest);
                    rest = masked.unwrap_or(rest);
                }
                Step::Compare { register, .. } | Step::Range { register, .. } => {
                    let loaded = self.take(*register);
                    let comparison = loaded.and_then(|loaded| comparison(*register, loaded.length, step, rest));
                    match loaded.zip(comparison) {
                        Some((loaded, (comparison, behind))) => {
                            rest = behind;
                            self.compared(loaded, &comparison);
                        }
                        None => self.unknown(),
                    }
                }
                Step::Limit { words, by: None } => self.words.push(words.to_string()),
                Step::Limit { words, by: Some((set, register)) } => {
                    let key = self.take(*register).map(|key| self.name(key.what, key.length));
                    self.words.push(format!("add @{set} {{ {} {words} }}", key.as_deref().unwrap_or(UNKNOWN)));
                }
                Step::Opaque | Step::Clobber => self.unknown(),
            }
        }
    }

    fn load(&mut self, register: usize, length: usize, what: What) {
        self.loaded.retain(|loaded| loaded.register != register);
        self.loaded.push(Loaded { register, length, what });
    }

    /// Takes the content out of a register that nothing needs any more.
    fn take(&mut self, register: usize) -> Option<Loaded> {
        let at = self.loaded.iter().position(|loaded| loaded.register == register)?;
        Some(self.loaded.remove(at))
    }

    /// Writes a mask and its comparison: a prefix, flags of TCP, states of connection tracking.
    fn masked<'r>(&mut self, from: usize, to: usize, mask: &[u8], xor: &[u8], rest: &'r [Step]) -> Option<&'r [Step]> {
        let loaded = self.take(from);
        let text = match (loaded, rest) {
            (Some(loaded), [Step::Compare { register, operator, with }, ..])
                if *register == to && xor.iter().all(|byte| *byte == 0) =>
            {
                match loaded.what {
                    What::Unknown("ct state") => states(mask, *operator, with),
                    What::Known(Load::Network(offset)) => prefix(offset, mask, *operator, with),
                    What::Known(Load::Transport(13)) => flags(mask, *operator, with),
                    _ => None,
                }
            }
            _ => None,
        };
        match text {
            Some(text) => {
                if text.starts_with("tcp ") {
                    self.words.pop_if(|word| word == "meta l4proto tcp");
                }
                self.words.push(text);
                Some(rest.get(1..).unwrap_or_default())
            }
            None => {
                self.load(to, mask.len(), What::Unknown(UNKNOWN));
                None
            }
        }
    }

    fn compared(&mut self, loaded: Loaded, comparison: &Comparison<'_>) {
        let value = comparison.value;
        match loaded.what {
            // Implied by the neighbouring expression.
            What::Known(Load::NfProto | Load::Protocol) if comparison.is_equal() => {}
            What::Known(Load::L4Proto) if comparison.is_equal() => {
                self.transport = value.first().map(|number| protocol(*number)).filter(|name| *name != "ip");
                let number = || value.first().map_or(UNKNOWN.to_owned(), u8::to_string);
                self.words.push(format!("meta l4proto {}", self.transport.map_or_else(number, str::to_owned)));
            }
            what => {
                let name = self.name(what, loaded.length);
                let words = comparison.words(|bytes| format(what, bytes));
                self.words.push(format!("{name} {}", words.as_deref().unwrap_or(UNKNOWN)));
            }
        }
    }

    /// `ip daddr . tcp dport @name`, or the elements of a set without a name.
    fn lookup(&mut self, set: &str, index: Option<usize>, register: usize, kind: &str, inverse: bool) {
        let known = index.and_then(|index| self.sets.get(index));
        let length = known.map_or(1, |known| known.set.key_length.div_ceil(4));
        let mut parts: Vec<Loaded> = Vec::new();
        for at in register..(register + length).min(register + 16) {
            parts.extend(self.take(at));
        }
        // Unknown parts of the key each become `…`.
        let names: Vec<String> = parts.iter().map(|part| self.name(part.what, part.length)).collect();
        let key = if names.is_empty() { UNKNOWN.to_owned() } else { names.join(" . ") };
        let not = if inverse { "!= " } else { "" };
        let what = match (known, parts.as_slice()) {
            (Some(known), [part]) if set.starts_with("__") => elements(&known.set, part.what),
            _ if set.starts_with("__") => format!("{{ {UNKNOWN} }}"),
            _ => format!("@{set}"),
        };
        self.words.push(format!("{key} {kind}{not}{what}"));
    }

    /// The name of a loaded value, as nft writes it.
    fn name(&mut self, what: What, length: usize) -> String {
        let name = match what {
            What::Unknown(name) => name,
            What::Known(Load::Network(12)) if length <= 4 => "ip saddr",
            What::Known(Load::Network(16)) if length <= 4 => "ip daddr",
            What::Known(Load::Network(8)) if length > 4 => "ip6 saddr",
            What::Known(Load::Network(24)) if length > 4 => "ip6 daddr",
            What::Known(Load::Network(2)) if length == 2 => "ip length",
            What::Known(Load::Network(8)) if length == 1 => "ip ttl",
            What::Known(Load::Network(9)) if length == 1 => "ip protocol",
            What::Known(Load::Network(_)) => "@nh",
            What::Known(Load::Transport(offset @ (0 | 2))) if length == 2 => {
                // The protocol is implied.
                if self.words.last().is_some_and(|word| word.starts_with("meta l4proto")) {
                    self.words.pop();
                }
                let port = if offset == 0 { "sport" } else { "dport" };
                return format!("{} {port}", self.transport.unwrap_or("th"));
            }
            What::Known(Load::Transport(_)) => "@th",
            What::Known(Load::Protocol) => "meta protocol",
            What::Known(Load::NfProto) => "meta nfproto",
            What::Known(Load::L4Proto) => "meta l4proto",
            What::Known(Load::Iif) => "iif",
            What::Known(Load::Oif) => "oif",
            What::Known(Load::IifName) => "iifname",
            What::Known(Load::OifName) => "oifname",
        };
        name.to_owned()
    }
}

/// `{ 6000, 6001 }`, `{ 22 : accept }`.
fn elements(set: &Set, what: What) -> String {
    let Some(all) = &set.elements else { return format!("{{ {UNKNOWN} }}") };
    let mut begun: Option<Box<[u8]>> = None;
    let mut texts: Vec<String> = Vec::new();
    let mut sorted: Vec<&Element> = all.iter().collect();
    sorted.sort_by(|a, b| a.key.cmp(&b.key).then(b.ends.cmp(&a.ends)));
    let write = |bytes: &[u8]| format(what, bytes).unwrap_or_else(|| UNKNOWN.to_owned());
    for element in sorted {
        if element.ends {
            let last = previous(&element.key);
            if let (Some(begin), Some(text)) = (begun.take(), texts.last_mut())
                && begin != last
            {
                *text = format!("{}-{}", write(&begin), write(&last));
            }
            continue;
        }
        begun = Some(element.key.clone());
        let key = if element.key.is_empty() { "*".to_owned() } else { write(&element.key) };
        texts.push(match &element.value {
            Value::None => key,
            Value::Verdict(action) => format!("{key} : {}", verdict(action)),
            Value::Data(_) => format!("{key} : {UNKNOWN}"),
        });
    }
    let more = texts.len() > MOST_ELEMENTS;
    texts.truncate(MOST_ELEMENTS);
    texts.extend(more.then(|| UNKNOWN.to_owned()));
    format!("{{ {} }}", texts.join(", "))
}

/// The key before this one.
fn previous(key: &[u8]) -> Box<[u8]> {
    let mut key = Box::<[u8]>::from(key);
    for byte in key.iter_mut().rev() {
        let (less, borrow) = byte.overflowing_sub(1);
        *byte = less;
        if !borrow {
            break;
        }
    }
    key
}

/// A value in nft's notation for the load.
fn format(what: What, bytes: &[u8]) -> Option<String> {
    match what {
        What::Known(Load::Network(offset)) => match (offset, bytes.len()) {
            (2, 2) => port(bytes),
            (8 | 9, 1) => bytes.first().map(u8::to_string),
            (12 | 16, 1..=4) => prefixed(bytes, 4),
            (8 | 24, 1..=16) => prefixed(bytes, 16),
            _ => None,
        },
        What::Known(Load::Transport(0 | 2)) => port(bytes),
        What::Known(Load::L4Proto) => bytes.first().map(|number| match protocol(*number) {
            "ip" => number.to_string(),
            name => name.to_owned(),
        }),
        What::Known(Load::IifName | Load::OifName) => {
            let text = String::from_utf8_lossy(bytes).into_owned();
            Some(match text.split_once('\0') {
                Some((name, _)) => format!("\"{name}\""),
                None => format!("\"{text}*\""),
            })
        }
        What::Known(Load::Iif | Load::Oif) => Some(u32::from_ne_bytes(bytes.try_into().ok()?).to_string()),
        What::Unknown("ct mark" | "meta mark") => Some(format!("{:#x}", u32::from_ne_bytes(bytes.try_into().ok()?))),
        What::Unknown("ct state") => {
            states(bytes, Operator::NotEqual, &[0; 4])?.strip_prefix("ct state ").map(str::to_owned)
        }
        _ => None,
    }
}

/// An address of `size` bytes, given its first bytes.
fn prefixed(bytes: &[u8], size: usize) -> Option<String> {
    let mut whole = bytes.to_vec();
    whole.resize(size, 0);
    let addr: IpAddr = address(&whole)?;
    let prefix = bytes.len() * 8;
    Some(if bytes.len() == size { addr.to_string() } else { format!("{addr}/{prefix}") })
}

/// `ip saddr 10.0.0.0/10`.
fn prefix(offset: u32, mask: &[u8], operator: Operator, with: &[u8]) -> Option<String> {
    let name = match (offset, mask.len()) {
        (12, 4) => "ip saddr",
        (16, 4) => "ip daddr",
        (8, 16) => "ip6 saddr",
        (24, 16) => "ip6 daddr",
        _ => return None,
    };
    let ones: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    let leading: u32 = mask
        .iter()
        .scan(true, |whole, byte| {
            let count = if *whole { byte.leading_ones() } else { 0 };
            *whole &= *byte == u8::MAX;
            Some(count)
        })
        .sum();
    let not = not(operator)?;
    let addr: IpAddr = address(with)?;
    (ones == leading).then(|| format!("{name} {not}{addr}/{ones}"))
}

/// `ct state invalid,new`.
fn states(mask: &[u8], operator: Operator, with: &[u8]) -> Option<String> {
    const STATES: [(u32, &str); 5] =
        [(1, "invalid"), (2, "established"), (4, "related"), (8, "new"), (64, "untracked")];
    let bits = u32::from_ne_bytes(mask.try_into().ok()?);
    if operator != Operator::NotEqual || with.iter().any(|byte| *byte != 0) {
        return None;
    }
    let names: Vec<&str> = STATES.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    Some(format!("ct state {}", names.join(",")))
}

/// `tcp flags & (syn|ack) == syn`.
fn flags(mask: &[u8], operator: Operator, with: &[u8]) -> Option<String> {
    const FLAGS: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"];
    let names = |bytes: &[u8]| {
        let byte = *bytes.first()?;
        let names: Vec<&str> =
            FLAGS.iter().enumerate().filter(|(bit, _)| byte >> bit & 1 == 1).map(|(_, name)| *name).collect();
        Some(if names.is_empty() { "0".to_owned() } else { names.join("|") })
    };
    let sign = if operator == Operator::Equal { "==" } else { "!=" };
    not(operator)?;
    Some(format!("tcp flags & ({}) {sign} {}", names(mask)?, names(with)?))
}

fn not(operator: Operator) -> Option<&'static str> {
    match operator {
        Operator::Equal => Some(""),
        Operator::NotEqual => Some("!= "),
        _ => None,
    }
}

/// The operand of a comparison.
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

/// The comparison that begins with `step`, and the steps after it.
fn comparison<'s>(
    loaded: usize,
    length: usize,
    step: &'s Step,
    rest: &'s [Step],
) -> Option<(Comparison<'s>, &'s [Step])> {
    match (step, rest) {
        (
            Step::Compare { operator: Operator::GreaterOrEqual, with: from, .. },
            [Step::Compare { register, operator: Operator::LessOrEqual, with: to }, rest @ ..],
        ) if *register == loaded => Some((Comparison { operator: Operator::Equal, value: from, last: Some(to) }, rest)),
        (Step::Compare { operator, with, .. }, _) if with.len() <= length.max(16) => {
            Some((Comparison { operator: *operator, value: with, last: None }, rest))
        }
        (Step::Range { within, from, to, .. }, _) => {
            let operator = if *within { Operator::Equal } else { Operator::NotEqual };
            Some((Comparison { operator, value: from, last: Some(to) }, rest))
        }
        _ => None,
    }
}

fn port(bytes: &[u8]) -> Option<String> {
    Some(u16::from_be_bytes(bytes.try_into().ok()?).to_string())
}
