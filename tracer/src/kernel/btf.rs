//! The kernel's type information (BTF): offsets of members, values of enumerators, counts of
//! parameters. A small reader of our own, because aya keeps its members private.
//!
//! Format: `Documentation/bpf/btf.rst`, `include/uapi/linux/btf.h`.

use std::{
    collections::HashMap,
    fs, io,
    ops::{Deref, Range},
    os::fd::AsRawFd as _,
    path::Path,
};

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
    /// The user wants none.
    #[error("not looked at (--btf none)")]
    NotWanted,
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

/// The file, read or mapped.
enum Bytes {
    Read(Vec<u8>),
    Mapped(*const u8, usize),
}

// SAFETY: a mapping that nobody writes to, and that only its owner takes away.
unsafe impl Send for Bytes {}
// SAFETY: as above.
unsafe impl Sync for Bytes {}

impl Bytes {
    /// The file at `path`.
    fn read(path: &Path) -> Result<Self, BtfError> {
        let unreadable = |source| BtfError::Read { path: path.display().to_string(), source };
        let file = fs::File::open(path).map_err(unreadable)?;
        // An ordinary file may be cut while it is mapped.
        let mapped = if path.starts_with("/sys/kernel/btf") { Self::map(&file) } else { None };
        match mapped {
            Some(bytes) => Ok(bytes),
            None => fs::read(path).map(Self::Read).map_err(unreadable),
        }
    }

    /// Maps the kernel's own file, which a kernel allows from 6.16 on (a529a7a73a47): a read gives a
    /// page at a time, and there are more than a thousand.
    fn map(file: &fs::File) -> Option<Self> {
        let length = usize::try_from(file.metadata().ok()?.len()).ok()?;
        // SAFETY: no address is asked for; the file is open for reading.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0)
        };
        (start != libc::MAP_FAILED).then_some(Self::Mapped(start.cast_const().cast(), length))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Read(bytes) => bytes,
            // SAFETY: mapped for as long as `self` lives; the kernel's type information never changes.
            Self::Mapped(start, length) => unsafe { std::slice::from_raw_parts(*start, *length) },
        }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if let Self::Mapped(start, length) = self {
            // SAFETY: our own mapping, which nobody refers to any more.
            unsafe { libc::munmap(start.cast_mut().cast(), *length) };
        }
    }
}

/// What the index has.
struct Wanted<'a> {
    structs: &'a [&'a str],
    typedefs: &'a [&'a str],
    functions: &'a [&'a str],
    /// With so many of them it is complete.
    enough: usize,
}

impl<'a> Wanted<'a> {
    /// Whatever has one of these names.
    const fn all(names: &'a [&'a str]) -> Self {
        Self { structs: names, typedefs: names, functions: names, enough: usize::MAX }
    }
}

/// Which pairs of first bytes the wanted names have: most names of a kernel are ruled out by that.
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

    /// As [`Btf::read`], no further than to the last of these structures and functions: what stands
    /// behind it is not known, also if one of them refers to it.
    ///
    /// # Errors
    /// See [`BtfError`].
    pub fn read_until(path: &Path, structs: &[&str], functions: &[&str]) -> Result<Self, BtfError> {
        let enough = structs.len() + functions.len();
        Self::of(Bytes::read(path)?, &Wanted { structs, functions, typedefs: &[], enough })
    }

    /// As [`Btf::read`], from memory.
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

    /// Kind, count and size-or-type of a type, and where what follows it starts.
    fn head(&self, id: u32) -> Option<(u32, bool, usize, u32, usize)> {
        if id == 0 {
            return None;
        }
        let at = *self.starts.get(id as usize)? as usize;
        let info = word(self.types(), at + 4)?;
        Some((info >> 24 & 0x1f, info >> 31 != 0, (info & 0xffff) as usize, word(self.types(), at + 8)?, at + 12))
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
                member.type_id = word(self.types(), at)?;
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
                (word(self.types(), at)?, word(self.types(), at + 4)?, word(self.types(), at + 8)?);
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
            } else if text(self.strings(), member_name) == name {
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
            .find(|index| word(self.types(), at + index * 8).is_some_and(|n| text(self.strings(), n) == name))
            .and_then(|index| word(self.types(), at + index * 8 + 4))
            .map(u32::cast_signed)
    }

    /// The enumerators of `enumeration` with their values, in the order of the source; `None` if
    /// there is no such enumeration. Unsigned values of 64 bits beyond `i64::MAX` wrap.
    #[must_use]
    pub fn enum_values(&self, enumeration: &str) -> Option<impl Iterator<Item = (&str, i64)>> {
        let (kind @ (KIND_ENUM | KIND_ENUM64), signed, count, _, at) = self.head(*self.structs.get(enumeration)?)?
        else {
            return None;
        };
        let width = if kind == KIND_ENUM { 8 } else { 12 };
        Some((0..count).map_while(move |index| {
            let at = at + index * width;
            let name = text(self.strings(), word(self.types(), at)?);
            let low = word(self.types(), at + 4)?;
            let value = match kind {
                KIND_ENUM64 => i64::from(low) | i64::from(word(self.types(), at + 8)?) << 32,
                _ if signed => i64::from(low.cast_signed()),
                _ => i64::from(low),
            };
            Some((name, value))
        }))
    }

    /// The number of a function's type.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<u32> {
        self.functions.get(name).copied()
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
                let argument = word(self.types(), at + index * 8 + 4)?;
                let Some((KIND_PTR, _, _, to, _)) = self.head(self.plain(argument)) else { return Some("") };
                let at = *self.starts.get(self.plain(to) as usize)? as usize;
                Some(if to == 0 { "" } else { text(self.strings(), word(self.types(), at)?) })
            })
            .collect()
    }
}

fn text(strings: &[u8], at: u32) -> &str {
    let rest = strings.get(at as usize..).unwrap_or_default();
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    std::str::from_utf8(&rest[..end]).unwrap_or_default()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// BTF with one type of each of the three kinds of enumeration.
    fn enumerations() -> Vec<u8> {
        let strings = b"\0plain\0signed\0wide\0A\0B\0";
        let at = |name: &str| u32::try_from(strings.windows(name.len()).position(|w| w == name.as_bytes()).unwrap());
        let (a, b) = (at("A\0").unwrap(), at("B\0").unwrap());
        let head = |kind: u32, signed: bool| kind << 24 | 2 | u32::from(signed) << 31;
        let mut types = vec![at("plain").unwrap(), head(KIND_ENUM, false), 4, a, 0, b, 0xffff_0000];
        types.extend([at("signed").unwrap(), head(KIND_ENUM, true), 4, a, 0xffff_ffff, b, 7]);
        types.extend([at("wide").unwrap(), head(KIND_ENUM64, false), 8, a, 1, 2, b, 3, 0]);
        let mut bytes = [0xeb9f_u16.to_ne_bytes(), [1, 0]].concat();
        let size = u32::try_from(types.len() * 4).unwrap();
        for number in [24, 0, size, size, u32::try_from(strings.len()).unwrap()].into_iter().chain(types) {
            bytes.extend(number.to_ne_bytes());
        }
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn enumerators_have_names_and_values() {
        let btf = Btf::parse(&enumerations(), &["plain", "signed", "wide"]).unwrap();
        let values = |name: &str| btf.enum_values(name).map(Iterator::collect::<Vec<_>>);
        assert_eq!(values("plain").unwrap(), [("A", 0), ("B", 0xffff_0000)]);
        assert_eq!(values("signed").unwrap(), [("A", -1), ("B", 7)]);
        assert_eq!(values("wide").unwrap(), [("A", 0x2_0000_0001), ("B", 3)]);
        assert_eq!(values("absent"), None);
        assert_eq!(btf.enumerator("plain", "A"), Some(0));
    }

    /// The running kernel's, where it can be read.
    #[test]
    fn the_running_kernel_has_congestion_states() {
        let path = Path::new("/sys/kernel/btf/vmlinux");
        if !path.exists() {
            eprintln!("skipped: this kernel has no BTF");
            return;
        }
        let btf = Btf::read(path, &["tcp_ca_state"]).unwrap();
        let values: Vec<_> = btf.enum_values("tcp_ca_state").unwrap().collect();
        assert_eq!(values.first(), Some(&("TCP_CA_Open", 0)));
        assert_eq!(values.len(), 5);
    }
}
