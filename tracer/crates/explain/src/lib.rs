//! Explanations: drop reasons, reset reasons, TCP states, verdicts, drop classes, errors and the kernel's counters,
//! with usual causes and further commands.
//!
//! The tables are constants, one file a subject. Their words are our own; the facts are the kernel's,
//! named at the head of each file. A name is found without its prefix, in either case, with `-` or
//! `_`; see [`lookup`].

pub mod class;
mod close;
mod counter;
mod degradation;
mod drop;
mod errno;
mod event;
pub mod kernels;
mod nearest;
mod reset;
mod source;
mod state;
mod verdict;

#[cfg(test)]
mod tests;

pub use class::DropClass;
pub use tracer_stream::errno as numbers;

/// The family of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Why the kernel dropped a packet (enum skb_drop_reason).
    Drop,
    /// The same, queueing disciplines (enum qdisc_drop_reason).
    Qdisc,
    /// The same, received Wi-Fi frames (enum mac80211_drop_reason).
    Mac80211,
    /// The same, Open vSwitch (enum ovs_drop_reason).
    Openvswitch,
    /// Why this host sent a RST (enum sk_rst_reason).
    Reset,
    /// States of TCP sockets.
    State,
    /// How a connection ended.
    Verdict,
    /// Further facts in a close.
    Close,
    /// Classes of drops.
    Class,
    /// Errors of system calls on sockets.
    Errno,
    /// Counters of /proc/net/netstat, snmp and snmp6, as nstat names them.
    Counter,
    /// Kinds of events in the stream.
    Event,
    /// How the owner of a socket is known (owner_source).
    Source,
    /// Limits of a trace on a host (degraded).
    Degradation,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Drop,
        Self::Qdisc,
        Self::Mac80211,
        Self::Openvswitch,
        Self::Reset,
        Self::State,
        Self::Verdict,
        Self::Close,
        Self::Class,
        Self::Errno,
        Self::Counter,
        Self::Event,
        Self::Source,
        Self::Degradation,
    ];

    /// The name on the command line and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Qdisc => "qdisc",
            Self::Mac80211 => "mac80211",
            Self::Openvswitch => "openvswitch",
            Self::Reset => "reset",
            Self::State => "state",
            Self::Verdict => "verdict",
            Self::Close => "close",
            Self::Class => "class",
            Self::Errno => "errno",
            Self::Counter => "counter",
            Self::Event => "event",
            Self::Source => "source",
            Self::Degradation => "degradation",
        }
    }

    /// A description of the family, for a list of families.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Drop => "Why the kernel dropped a packet (enum skb_drop_reason)",
            Self::Qdisc => "The same, queueing disciplines (enum qdisc_drop_reason)",
            Self::Mac80211 => "The same, received Wi-Fi frames (enum mac80211_drop_reason)",
            Self::Openvswitch => "The same, Open vSwitch (enum ovs_drop_reason)",
            Self::Reset => "Why this host sent a RST (enum sk_rst_reason)",
            Self::State => "States of TCP sockets",
            Self::Verdict => "How a connection ended",
            Self::Close => "Further facts in a close",
            Self::Class => "Classes of drops",
            Self::Errno => "Errors of system calls on sockets",
            Self::Counter => "Counters of /proc/net/netstat, snmp and snmp6, as nstat names them",
            Self::Event => "Kinds of events in the stream",
            Self::Source => "How the owner of a socket is known (owner_source)",
            Self::Degradation => "Limits of a trace on a host (degraded)",
        }
    }

    /// The family with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }

    /// A description of one of them, for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Drop => "drop reason",
            Self::Qdisc => "drop reason of queueing disciplines",
            Self::Mac80211 => "drop reason of Wi-Fi",
            Self::Openvswitch => "drop reason of Open vSwitch",
            Self::Reset => "reset reason",
            Self::State => "TCP state",
            Self::Verdict => "verdict",
            Self::Close => "key of a close",
            Self::Class => "drop class",
            Self::Errno => "error",
            Self::Counter => "counter",
            Self::Event => "event",
            Self::Source => "owner_source",
            Self::Degradation => "degradation",
        }
    }

    /// The optional prefixes of the names.
    const fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Drop => &["SKB_DROP_REASON_", "SKB_"],
            Self::Qdisc => &["QDISC_DROP_", "QDISC_"],
            Self::Mac80211 => &["RX_DROP_U_", "RX_DROP_M_", "RX_DROP_"],
            Self::Openvswitch => &["OVS_DROP_", "OVS_"],
            Self::Reset => &["SK_RST_REASON_"],
            Self::Counter => counter::GROUPS,
            Self::State
            | Self::Verdict
            | Self::Close
            | Self::Class
            | Self::Errno
            | Self::Event
            | Self::Source
            | Self::Degradation => &[],
        }
    }

    /// Prefixes that people type although the tables do not have them.
    const fn extra(self) -> &'static [&'static str] {
        match self {
            Self::State => &["TCP", "BPFTCP"],
            Self::Mac80211 => &["___"],
            _ => &[],
        }
    }
}

/// The explanation of one name. No field is empty, except `also`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its family.
    pub family: Family,
    /// Its name, as the kernel or the stream writes it.
    pub name: &'static str,
    /// Other names with the same meaning, or so close that one explanation covers them.
    pub also: &'static [&'static str],
    /// Of drop reasons: the class of such a drop.
    pub class: Option<DropClass>,
    /// One or two sentences.
    pub meaning: &'static str,
    /// Usual causes, the most likely first.
    pub causes: &'static [&'static str],
    /// Further commands. Words in capitals (`DEV`, `PORT`, `PID`) are placeholders; two spaces and `#` precede a hint.
    pub look: &'static [&'static str],
}

impl Entry {
    /// All its names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.also.iter().copied())
    }
}

/// Every entry, family by family.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    drop::TABLES
        .iter()
        .copied()
        .chain([reset::TABLE, state::TABLE, verdict::TABLE, close::TABLE, class::TABLE, errno::TABLE])
        .chain(counter::TABLES.iter().copied())
        .chain([event::TABLE, source::TABLE, degradation::TABLE])
        .flatten()
}

/// A word in the form for comparison: lower case, letters and digits only.
fn normal(word: &str) -> String {
    word.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The words by which `name` is found, normalised: whole, and without the optional prefix.
fn keys(family: Family, name: &str) -> Vec<String> {
    let mut keys = vec![normal(name)];
    keys.extend(family.prefixes().iter().filter_map(|prefix| name.strip_prefix(prefix)).map(normal));
    keys
}

/// `name` without the prefix of an enumeration of the kernel: the form that people type.
#[must_use]
pub fn short(name: &'static str) -> &'static str {
    ["SKB_DROP_REASON_", "SK_RST_REASON_"].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
}

/// The word without a typed prefix.
fn bare(family: Family, word: &str) -> Option<&str> {
    family.extra().iter().filter_map(|prefix| word.strip_prefix(normal(prefix).as_str())).find(|rest| !rest.is_empty())
}

/// An entry, and the name by which it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The entry.
    pub entry: &'static Entry,
    /// One of its names.
    pub name: &'static str,
}

/// The entries that `word` may mean, in the order of the families: all of them, if it is ambiguous (`TCP_CLOSE` is a
/// drop reason and a state). Case, `-` and `_` do not matter, prefixes such as `SKB_DROP_REASON_` or `TcpExt` are
/// optional. A number is an error's.
#[must_use]
pub fn lookup(word: &str) -> Vec<Found> {
    let number = word.trim().trim_start_matches('-').parse::<i32>().ok().and_then(numbers::name);
    let word = normal(number.unwrap_or(word));
    // Types of ICMP messages: the name ends with any number.
    let untyped = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let untyped = untyped.ends_with("type").then_some(untyped);
    // The second name of EAGAIN names no other error.
    let word = if word == "ewouldblock" { "eagain" } else { word.as_str() };
    if word.is_empty() {
        return Vec::new();
    }
    let fits = |family: Family, name: &str| {
        keys(family, name)
            .iter()
            .any(|key| key == word || Some(key.as_str()) == untyped || Some(key.as_str()) == bare(family, word))
    };
    let found = entries().filter_map(|entry| {
        let name = entry.names().find(|name| fits(entry.family, name))?;
        Some(Found { entry, name })
    });
    found.collect()
}

/// Names like `word`, which [`lookup`] did not find; the best first.
#[must_use]
pub fn suggestions(word: &str) -> Vec<&'static str> {
    let names = entries().flat_map(|entry| entry.names().map(|name| (name, keys(entry.family, name))));
    nearest::nearest(&normal(word), names)
}

/// The one of `names` that is most like `word`, if any is.
#[must_use]
pub fn nearest_of<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    nearest::nearest(&normal(word), names.map(|name| (name, vec![normal(name)]))).into_iter().next()
}

/// The entry of a kernel counter, by its name as `nstat` writes it.
#[must_use]
pub fn counter(name: &str) -> Option<&'static Entry> {
    counter::TABLES.iter().copied().flatten().find(|entry| entry.names().any(|known| known == name))
}

/// The entry of a drop reason, by its name with or without `SKB_DROP_REASON_`, spelled as the kernel
/// does.
#[must_use]
pub fn drop_reason(name: &str) -> Option<&'static Entry> {
    let core = |known: &str| known.strip_prefix("SKB_DROP_REASON_") == Some(name);
    drop::TABLES.iter().copied().flatten().find(|entry| entry.names().any(|known| known == name || core(known)))
}
