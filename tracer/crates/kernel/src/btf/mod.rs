//! The kernel's type information (BTF): offsets of members, values of enumerators, counts of parameters. A small reader
//! of our own, because aya keeps its members private.
//!
//! Format: `Documentation/bpf/btf.rst`, `include/uapi/linux/btf.h`.

mod bytes;
mod questions;

use std::{collections::HashMap, io, ops::Range, path::Path};

use thiserror::Error;

use bytes::Bytes;
pub use questions::Member;

/// The reason why type information cannot be used.
#[derive(Debug, Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The user wants no type information.
    #[error("not looked at (--btf none)")]
    NotWanted,
    /// The bytes are not BTF, or have another byte order than this machine.
    #[error("not BTF of this machine's byte order: {0}")]
    Malformed(&'static str),
    /// A kind of type newer than this program.
    #[error("BTF type {id} is of kind {kind}, which this program does not know")]
    Kind {
        /// The type.
        id: u32,
        /// Its kind.
        kind: u32,
    },
}

const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_PTR: u32 = 2;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// Type information, indexed by name.
pub struct Btf {
    bytes: Bytes,
    types: Range<usize>,
    strings: Range<usize>,
    /// Start of each type in `types`; index 0 is `void`.
    starts: Vec<u32>,
    structs: HashMap<Box<str>, u32>,
    typedefs: HashMap<Box<str>, u32>,
    functions: HashMap<Box<str>, u32>,
}

impl std::fmt::Debug for Btf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Btf").field("types", &self.starts.len()).finish_non_exhaustive()
    }
}

/// The contents of the index.
struct Wanted<'a> {
    structs: &'a [&'a str],
    typedefs: &'a [&'a str],
    functions: &'a [&'a str],
    /// The number of entries with which it is complete.
    enough: usize,
}

impl<'a> Wanted<'a> {
    /// Every structure, typedef and function with one of these names.
    const fn all(names: &'a [&'a str]) -> Self {
        Self { structs: names, typedefs: names, functions: names, enough: usize::MAX }
    }
}

/// Which pairs of first bytes the wanted names have: this rules out most names of a kernel.
struct Beginnings(Box<[u64; 1024]>);

impl Beginnings {
    fn of(names: [&[&str]; 3]) -> Self {
        let mut bits = Box::new([0; 1024]);
        for name in names.into_iter().flatten() {
            let place = Self::place(name.as_bytes());
            bits[place / 64] |= 1 << (place % 64);
        }
        Self(bits)
    }

    fn place(name: &[u8]) -> usize {
        match name {
            [first, second, ..] => usize::from(*first) << 8 | usize::from(*second),
            [first] => usize::from(*first) << 8,
            [] => 0,
        }
    }

    fn may_be(&self, name: &[u8]) -> bool {
        let place = Self::place(name);
        self.0[place / 64] >> (place % 64) & 1 != 0
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

impl Btf {
    /// Reads the file at `path`, keeping an index of the structures, typedefs and functions in
    /// `wanted` only (a kernel has a hundred thousand others).
    ///
    /// # Errors
    /// See [`BtfError`].
    pub fn read(path: &Path, wanted: &[&str]) -> Result<Self, BtfError> {
        Self::of(Bytes::read(path)?, &Wanted::all(wanted))
    }

    /// Like [`Btf::read`], but only up to the last of these structures and functions: later types are unknown, even if
    /// one of them refers to them.
    ///
    /// # Errors
    /// See [`BtfError`].
    pub fn read_until(path: &Path, structs: &[&str], functions: &[&str]) -> Result<Self, BtfError> {
        let enough = structs.len() + functions.len();
        Self::of(Bytes::read(path)?, &Wanted { structs, functions, typedefs: &[], enough })
    }

    /// Like [`Btf::read`], from memory.
    ///
    /// # Errors
    /// See [`BtfError`].
    pub fn parse(bytes: &[u8], wanted: &[&str]) -> Result<Self, BtfError> {
        Self::of(Bytes::Read(bytes.to_vec()), &Wanted::all(wanted))
    }

    fn of(bytes: Bytes, wanted: &Wanted<'_>) -> Result<Self, BtfError> {
        const SHORT: BtfError = BtfError::Malformed("it ends too early");
        if bytes.get(..2) != Some(&0xeb9f_u16.to_ne_bytes()) {
            return Err(BtfError::Malformed("the magic is not there"));
        }
        let part = |offset_at: usize| -> Result<Range<usize>, BtfError> {
            let header = word(&bytes, 4).ok_or(SHORT)? as usize;
            let offset = word(&bytes, offset_at).ok_or(SHORT)? as usize;
            let length = word(&bytes, offset_at + 4).ok_or(SHORT)? as usize;
            let start = header.checked_add(offset).ok_or(SHORT)?;
            let end = start.checked_add(length).ok_or(SHORT)?;
            bytes.get(start..end).ok_or(SHORT)?;
            Ok(start..end)
        };
        let (types, strings) = (part(8)?, part(16)?);
        let mut btf = Self {
            bytes,
            types,
            strings,
            starts: vec![0],
            structs: HashMap::new(),
            typedefs: HashMap::new(),
            functions: HashMap::new(),
        };
        btf.index(wanted)?;
        Ok(btf)
    }

    fn types(&self) -> &[u8] {
        self.bytes.get(self.types.clone()).unwrap_or_default()
    }

    fn strings(&self) -> &[u8] {
        self.bytes.get(self.strings.clone()).unwrap_or_default()
    }

    fn index(&mut self, wanted: &Wanted<'_>) -> Result<(), BtfError> {
        const SHORT: BtfError = BtfError::Malformed("a type is cut");
        let beginnings = Beginnings::of([wanted.structs, wanted.typedefs, wanted.functions]);
        let mut found = 0;
        let types = self.bytes.get(self.types.clone()).unwrap_or_default();
        let strings = self.bytes.get(self.strings.clone()).unwrap_or_default();
        self.starts.reserve(types.len() / 20);
        let mut at = 0;
        while at < types.len() {
            let info = word(types, at + 4).ok_or(SHORT)?;
            let id = u32::try_from(self.starts.len()).map_err(|_| BtfError::Malformed("too many types"))?;
            self.starts.push(u32::try_from(at).map_err(|_| BtfError::Malformed("too large"))?);
            let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            let names = match kind {
                KIND_STRUCT | KIND_ENUM | KIND_ENUM64 => Some((&mut self.structs, wanted.structs)),
                KIND_TYPEDEF => Some((&mut self.typedefs, wanted.typedefs)),
                KIND_FUNC => Some((&mut self.functions, wanted.functions)),
                _ => None,
            };
            if let Some((names, wanted_names)) = names {
                let name_at = word(types, at).ok_or(SHORT)?;
                if beginnings.may_be(strings.get(name_at as usize..).unwrap_or_default()) {
                    let name = text(strings, name_at);
                    if wanted_names.contains(&name) && !names.contains_key(name) {
                        names.insert(name.into(), id);
                        found += 1;
                        if found == wanted.enough {
                            return Ok(());
                        }
                    }
                }
            }
            at += 12
                + match kind {
                    1 | 14 | 17 => 4,
                    KIND_ARRAY => 12,
                    KIND_STRUCT | KIND_UNION | 15 | KIND_ENUM64 => count * 12,
                    KIND_ENUM | KIND_FUNC_PROTO => count * 8,
                    KIND_PTR | 7..=12 | 16 | KIND_TYPE_TAG => 0,
                    _ => return Err(BtfError::Kind { id, kind }),
                };
        }
        Ok(())
    }

    /// Kind, count and size-or-type of a type, and the start of the data after it.
    fn head(&self, id: u32) -> Option<(u32, bool, usize, u32, usize)> {
        if id == 0 {
            return None;
        }
        let at = *self.starts.get(id as usize)? as usize;
        let info = word(self.types(), at + 4)?;
        Some((info >> 24 & 0x1f, info >> 31 != 0, (info & 0xffff) as usize, word(self.types(), at + 8)?, at + 12))
    }

    /// The type behind typedefs, qualifiers and tags.
    fn plain(&self, mut id: u32) -> u32 {
        for _ in 0..questions::MOST_STEPS {
            match self.head(id) {
                Some((KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG, _, _, to, _)) => {
                    id = to
                }
                _ => break,
            }
        }
        id
    }
}

fn text(strings: &[u8], at: u32) -> &str {
    let rest = strings.get(at as usize..).unwrap_or_default();
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    std::str::from_utf8(&rest[..end]).unwrap_or_default()
}
