//! How the inputs are written down: the forms of types that others define.
//!
//! Every form is data without pointers and without a place in this process: a record is its bytes, a counter its name.
//! Names that are constants of the program come back as those constants.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use tracer_common::{
    decode::{DecodeError, Record, decode},
    tcp::TcpState,
};
use tracer_stream::{Container, Discipline, Hint, Nft, ProcessFacts};
pub(super) use tracer_tables::tuple::TupleForm;

use super::packets::Explained;

/// The ring that a record came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ring {
    /// Lifecycles of sockets and processes.
    Events,
    /// Packets.
    Drops,
}

/// A record, written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// Its ring.
    pub ring: Ring,
    /// Its time, `CLOCK_BOOTTIME` ns.
    pub boot_ns: u64,
    /// Its bytes in words, as they lie in the ring.
    words: Vec<u64>,
}

impl Packed {
    /// Reads the record.
    ///
    /// # Errors
    /// If the words are no record.
    pub fn record(&self) -> Result<Record<'_>, DecodeError> {
        // SAFETY: initialised words, of which each byte is a `u8`; the result borrows from them.
        decode(unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast::<u8>(), self.words.len() * 8) })
    }
}

impl From<&Record<'_>> for Packed {
    fn from(record: &Record<'_>) -> Self {
        let words = match *record {
            Record::Socket(_, record) => words(record),
            Record::Close(record) => words(record),
            Record::Fork(record) => words(record),
            Record::Exec(record) => words(record),
            Record::Exit(record) => words(record),
            Record::Drop(record) => words(record),
            Record::Segment(_, record) => words(record),
        };
        let ring = if matches!(record, Record::Drop(_) | Record::Segment(..)) { Ring::Drops } else { Ring::Events };
        Self { ring, boot_ns: record.boot_ns(), words }
    }
}

/// The words of a record: its type is `repr(C)`, aligned to eight bytes and without padding (`tracer_common`).
fn words<T: Copy>(record: &T) -> Vec<u64> {
    let count = size_of::<T>() / 8;
    // SAFETY: as many initialised bytes as the record has, aligned to eight.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(record).cast::<u64>(), count) }.to_vec()
}

/// What can be written down as a record.
pub trait Pack {
    /// The record, written down.
    fn pack(&self) -> Packed;
}

impl Pack for Record<'_> {
    fn pack(&self) -> Packed {
        self.into()
    }
}

impl Pack for Packed {
    fn pack(&self) -> Packed {
        self.clone()
    }
}

/// A field that is a record.
pub mod record {
    use super::*;

    /// Writes it.
    pub fn serialize<R: Pack, S: Serializer>(record: &R, to: S) -> Result<S::Ok, S::Error> {
        record.pack().serialize(to)
    }

    /// Reads it.
    pub fn deserialize<'de, R: From<Packed>, D: Deserializer<'de>>(from: D) -> Result<R, D::Error> {
        Packed::deserialize(from).map(R::from)
    }
}

/// Returns the constant that equals `name`.
fn constant<E: serde::de::Error>(name: &str, all: &[&'static str]) -> Result<&'static str, E> {
    all.iter().find(|known| **known == name).copied().ok_or_else(|| E::custom(format!("{name:?} is not known")))
}

/// A class of losses.
pub type Class = &'static str;

/// A field that is a class of losses.
pub mod class {
    use super::*;

    /// The classes.
    const ALL: [&str; 6] = ["lifecycle", "process", "drop", "segment", "missed", "undecoded"];

    /// Writes it.
    pub fn serialize<S: Serializer>(class: &&'static str, to: S) -> Result<S::Ok, S::Error> {
        class.serialize(to)
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
        constant(&String::deserialize(from)?, &ALL)
    }
}

/// A field that is a state of TCP.
pub mod state {
    use super::*;

    /// Writes the kernel's number.
    pub fn serialize<S: Serializer>(state: &TcpState, to: S) -> Result<S::Ok, S::Error> {
        (*state as u8).serialize(to)
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<TcpState, D::Error> {
        let number = u8::deserialize(from)?;
        TcpState::from_number(number).ok_or_else(|| D::Error::custom(format!("{number} is no state of TCP")))
    }
}

/// [`ProcessFacts`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "ProcessFacts")]
pub struct FactsForm {
    exe: Option<String>,
    cmdline: Option<Vec<String>>,
    cmdline_cut: bool,
    cgroup: Option<String>,
    #[serde(with = "container")]
    container: Option<Container>,
    unit: Option<String>,
    late: bool,
}

mod container {
    use super::*;

    const RUNTIMES: [&str; 7] = ["docker", "containerd", "cri-o", "podman", "lxc", "nspawn", "unknown"];

    pub fn serialize<S: Serializer>(container: &Option<Container>, to: S) -> Result<S::Ok, S::Error> {
        container.as_ref().map(|container| (container.runtime, &container.id, container.claimed)).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Container>, D::Error> {
        let read: Option<(String, String, bool)> = Option::deserialize(from)?;
        read.map(|(runtime, id, claimed)| Ok(Container { runtime: constant(&runtime, &RUNTIMES)?, id, claimed }))
            .transpose()
    }
}

/// A field that has answers about hints.
pub mod hints {
    use super::*;

    const FAMILIES: [&str; 7] = ["ip", "ip6", "inet", "arp", "bridge", "netdev", "nft"];

    #[derive(Serialize, Deserialize)]
    struct NftForm {
        family: String,
        table: String,
        chain: String,
        handle: Option<u64>,
        rule: Option<String>,
    }

    #[derive(Serialize, Deserialize)]
    struct Form {
        text: String,
        nft: Option<NftForm>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        candidates: Vec<NftForm>,
        qdisc: Option<(String, String)>,
        full_conntrack: Option<(u64, u64)>,
        undecided: bool,
    }

    impl From<&Hint> for Form {
        fn from(hint: &Hint) -> Self {
            let nft = |Nft { family, table, chain, handle, rule }| NftForm {
                family: str::to_owned(family),
                table,
                chain,
                handle,
                rule,
            };
            Self {
                text: hint.text.clone(),
                nft: hint.nft.clone().map(nft),
                candidates: hint.candidates.iter().cloned().map(nft).collect(),
                qdisc: hint.qdisc.clone().map(|qdisc| (qdisc.kind, qdisc.handle)),
                full_conntrack: hint.full_conntrack,
                undecided: hint.undecided,
            }
        }
    }

    impl Form {
        fn hint<E: serde::de::Error>(self) -> Result<Hint, E> {
            let Self { text, nft, candidates, qdisc, full_conntrack, undecided } = self;
            let one = |NftForm { family, table, chain, handle, rule }| {
                Ok(Nft { family: constant(&family, &FAMILIES)?, table, chain, handle, rule })
            };
            let nft = nft.map(one);
            let candidates = candidates.into_iter().map(one).collect::<Result<_, E>>()?;
            let qdisc = qdisc.map(|(kind, handle)| Discipline { kind, handle });
            Ok(Hint { text, nft: nft.transpose()?, candidates, qdisc, full_conntrack, undecided })
        }
    }

    /// Writes them.
    pub fn serialize<S: Serializer>(answers: &[Explained], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(answers.iter().map(|(number, hint)| (number, hint.as_ref().map(Form::from))))
    }

    /// Reads them.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Explained>, D::Error> {
        let read: Vec<(u64, Option<Form>)> = Vec::deserialize(from)?;
        read.into_iter().map(|(number, form)| Ok((number, form.map(Form::hint).transpose()?))).collect()
    }
}
