//! The kernel's type information (BTF): offsets of members, values of enumerators, counts of
//! parameters. A small reader of our own, because aya keeps its members private.
//!
//! Format: `Documentation/bpf/btf.rst`, `include/uapi/linux/btf.h`.

use std::{collections::HashMap, fs, io, path::Path};

use thiserror::Error;

/// Why type information cannot be used.
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
    /// The bytes are not BTF, or of a byte order that is not this machine's.
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

/// Where a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// From the start of the outermost structure, in bits.
    pub bit_offset: u32,
    /// Bits, if it is a bit field.
    pub bits: Option<u32>,
    type_id: u32,
}

impl Member {
    /// From the start of the outermost structure, in bytes.
    #[must_use]
    pub const fn byte_offset(self) -> u32 {
        self.bit_offset / 8
    }
}

/// Type information, indexed by name.
pub struct Btf {
    types: Vec<u8>,
    strings: Vec<u8>,
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
        let bytes = fs::read(path).map_err(|source| BtfError::Read { path: path.display().to_string(), source })?;
        Self::parse(&bytes, wanted)
    }

    /// As [`Btf::read`], from memory.
    ///
    /// # Errors
    /// See [`BtfError`].
    pub fn parse(bytes: &[u8], wanted: &[&str]) -> Result<Self, BtfError> {
        const SHORT: BtfError = BtfError::Malformed("it ends too early");
        if bytes.get(..2) != Some(&0xeb9f_u16.to_ne_bytes()) {
            return Err(BtfError::Malformed("the magic is not there"));
        }
        let part = |offset_at: usize| -> Result<Vec<u8>, BtfError> {
            let header = word(bytes, 4).ok_or(SHORT)? as usize;
            let offset = word(bytes, offset_at).ok_or(SHORT)? as usize;
            let length = word(bytes, offset_at + 4).ok_or(SHORT)? as usize;
            let start = header.checked_add(offset).ok_or(SHORT)?;
            let end = start.checked_add(length).ok_or(SHORT)?;
            Ok(bytes.get(start..end).ok_or(SHORT)?.to_vec())
        };
        let mut btf = Self {
            types: part(8)?,
            strings: part(16)?,
            starts: vec![0],
            structs: HashMap::new(),
            typedefs: HashMap::new(),
            functions: HashMap::new(),
        };
        btf.index(wanted)?;
        Ok(btf)
    }

    fn index(&mut self, wanted: &[&str]) -> Result<(), BtfError> {
        const SHORT: BtfError = BtfError::Malformed("a type is cut");
        let mut at = 0;
        while at < self.types.len() {
            let info = word(&self.types, at + 4).ok_or(SHORT)?;
            let id = u32::try_from(self.starts.len()).map_err(|_| BtfError::Malformed("too many types"))?;
            self.starts.push(u32::try_from(at).map_err(|_| BtfError::Malformed("too large"))?);
            let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            let names = match kind {
                KIND_STRUCT | KIND_ENUM => Some(&mut self.structs),
                KIND_TYPEDEF => Some(&mut self.typedefs),
                KIND_FUNC => Some(&mut self.functions),
                _ => None,
            };
            if let Some(names) = names {
                let name = text(&self.strings, word(&self.types, at).ok_or(SHORT)?);
                if wanted.contains(&name) {
                    names.entry(name.into()).or_insert(id);
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

    /// Kind, count and size-or-type of a type, and where what follows it starts.
    fn head(&self, id: u32) -> Option<(u32, bool, usize, u32, usize)> {
        if id == 0 {
            return None;
        }
        let at = *self.starts.get(id as usize)? as usize;
        let info = word(&self.types, at + 4)?;
        Some((info >> 24 & 0x1f, info >> 31 != 0, (info & 0xffff) as usize, word(&self.types, at + 8)?, at + 12))
    }

    /// Behind typedefs, qualifiers and tags.
    fn plain(&self, mut id: u32) -> u32 {
        for _ in 0..32 {
            match self.head(id) {
                Some((KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG, _, _, to, _)) => {
                    id = to
                }
                _ => break,
            }
        }
        id
    }

    /// Whether there is a structure (or enumeration) of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.structs.contains_key(name)
    }

    /// The member that `path` names, such as `ns.inum` in `net` or `rtt_min.s[0].v` in `tcp_sock`.
    /// Members of anonymous structures and unions count as the outer one's own, as in C.
    #[must_use]
    pub fn member(&self, structure: &str, path: &str) -> Option<Member> {
        let mut id = *self.structs.get(structure)?;
        let mut bit_offset = 0;
        let mut found = None;
        for step in path.split('.') {
            let (name, index) = match step.split_once('[') {
                Some((name, rest)) => (name, rest.trim_end_matches(']').parse::<u32>().ok()?),
                None => (step, 0),
            };
            let mut member = self.member_of(self.plain(id), name, 0)?;
            bit_offset += member.bit_offset;
            if step.contains('[') {
                let (KIND_ARRAY, _, _, _, at) = self.head(self.plain(member.type_id))? else { return None };
                member.type_id = word(&self.types, at)?;
                bit_offset += index * self.size(member.type_id)? * 8;
            }
            id = member.type_id;
            found = Some(Member { bit_offset, ..member });
        }
        found
    }

    fn member_of(&self, id: u32, name: &str, depth: u32) -> Option<Member> {
        let (KIND_STRUCT | KIND_UNION, bit_fields, count, _, at) = self.head(id)? else { return None };
        for index in 0..count {
            let at = at + index * 12;
            let (member_name, type_id, offset) =
                (word(&self.types, at)?, word(&self.types, at + 4)?, word(&self.types, at + 8)?);
            let (bit_offset, bits) = if bit_fields {
                (offset & 0x00ff_ffff, Some(offset >> 24).filter(|bits| *bits != 0))
            } else {
                (offset, None)
            };
            if member_name == 0 {
                if depth < 8
                    && let Some(inner) = self.member_of(self.plain(type_id), name, depth + 1)
                {
                    return Some(Member { bit_offset: bit_offset + inner.bit_offset, ..inner });
                }
            } else if text(&self.strings, member_name) == name {
                return Some(Member { bit_offset, bits, type_id });
            }
        }
        None
    }

    fn size(&self, id: u32) -> Option<u32> {
        match self.head(self.plain(id))? {
            (1 | KIND_STRUCT | KIND_UNION | KIND_ENUM | KIND_ENUM64, _, _, size, _) => Some(size),
            (KIND_PTR, ..) => Some(8),
            _ => None,
        }
    }

    /// The value of an enumerator.
    #[must_use]
    pub fn enumerator(&self, enumeration: &str, name: &str) -> Option<i32> {
        let (KIND_ENUM, _, count, _, at) = self.head(*self.structs.get(enumeration)?)? else { return None };
        (0..count)
            .find(|index| word(&self.types, at + index * 8).is_some_and(|n| text(&self.strings, n) == name))
            .and_then(|index| word(&self.types, at + index * 8 + 4))
            .map(u32::cast_signed)
    }

    /// All enumerators of an enumeration, values and names.
    #[must_use]
    pub fn enumerators(&self, enumeration: &str) -> Vec<(u32, &str)> {
        let Some(id) = self.structs.get(enumeration) else { return Vec::new() };
        let Some((KIND_ENUM, _, count, _, at)) = self.head(*id) else { return Vec::new() };
        let enumerator = |index| {
            let at = at + index * 8;
            Some((word(&self.types, at + 4)?, text(&self.strings, word(&self.types, at)?)))
        };
        (0..count).filter_map(enumerator).collect()
    }

    /// How many parameters a function has.
    #[must_use]
    pub fn parameters(&self, function: &str) -> Option<u32> {
        let (_, _, _, proto, _) = self.head(*self.functions.get(function)?)?;
        let (KIND_FUNC_PROTO, _, count, _, _) = self.head(proto)? else { return None };
        u32::try_from(count).ok()
    }

    /// The arguments of a tracepoint, by the names of the structures they point to (`""` for what
    /// is no pointer to a structure).
    #[must_use]
    pub fn tracepoint_arguments(&self, tracepoint: &str) -> Option<Vec<&str>> {
        let mut id = *self.typedefs.get(format!("btf_trace_{tracepoint}").as_str())?;
        while let Some((KIND_TYPEDEF | KIND_PTR, _, _, to, _)) = self.head(id) {
            id = to;
        }
        let (KIND_FUNC_PROTO, _, count, _, at) = self.head(id)? else { return None };
        // The first one is the `void *` that the tracepoint passes to every probe.
        (1..count)
            .map(|index| {
                let argument = word(&self.types, at + index * 8 + 4)?;
                let Some((KIND_PTR, _, _, to, _)) = self.head(self.plain(argument)) else { return Some("") };
                let at = *self.starts.get(self.plain(to) as usize)? as usize;
                Some(if to == 0 { "" } else { text(&self.strings, word(&self.types, at)?) })
            })
            .collect()
    }
}

fn text(strings: &[u8], at: u32) -> &str {
    let rest = strings.get(at as usize..).unwrap_or_default();
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    std::str::from_utf8(&rest[..end]).unwrap_or_default()
}
