//! Questions about the types: members of structures, enumerators, parameters.

use super::{
    Btf, KIND_ARRAY, KIND_ENUM, KIND_ENUM64, KIND_FUNC_PROTO, KIND_PTR, KIND_STRUCT, KIND_TYPEDEF, KIND_UNION, text,
    word,
};

/// The place of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// From the start of the outermost structure, in bits.
    pub bit_offset: u32,
    /// The number of bits of a bit field.
    pub bits: Option<u32>,
    type_id: u32,
}

impl Member {
    /// From the start of the outermost structure, in bytes.
    #[must_use]
    pub const fn byte_offset(self) -> u32 {
        self.bit_offset / 8
    }

    /// Of a bit field its bits in the byte at [`Member::byte_offset`], as little-endian machines number them; of what
    /// takes a byte all of that.
    #[must_use]
    pub const fn mask(self) -> u32 {
        match self.bits {
            Some(bits) => (1_u32.wrapping_shl(bits) - 1) << (self.bit_offset % 8),
            None => 0xff,
        }
    }
}

/// The most names and qualifiers of a type that are followed.
pub(super) const MOST_STEPS: u32 = 32;
/// The most members that one question visits. The largest structures of a kernel have some hundred; one in a crafted
/// file may contain itself, many times.
const MOST_MEMBERS: u32 = 1 << 16;

impl Btf {
    /// Whether there is a structure, an enumeration or a typedef of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.structs.contains_key(name) || self.typedefs.contains_key(name)
    }

    /// The number of a structure's type.
    #[must_use]
    pub fn structure(&self, name: &str) -> Option<u32> {
        self.structs.get(name).copied()
    }

    /// The member at `path`, such as `ns.inum` in `net` or `rtt_min.s[0].v` in `tcp_sock`. Members of anonymous
    /// structures and unions count as the outer one's own, as in C.
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
            let mut left = MOST_MEMBERS;
            let mut member = self.member_of(self.plain(id), name, 0, &mut left)?;
            bit_offset = member.bit_offset.checked_add(bit_offset)?;
            if step.contains('[') {
                let (KIND_ARRAY, _, _, _, at) = self.head(self.plain(member.type_id))? else { return None };
                member.type_id = word(self.types(), at)?;
                let bits = index.checked_mul(self.size(member.type_id)?)?.checked_mul(8)?;
                bit_offset = bits.checked_add(bit_offset)?;
            }
            id = member.type_id;
            found = Some(Member { bit_offset, ..member });
        }
        found
    }

    /// `left`: number of members that may still be visited.
    fn member_of(&self, id: u32, name: &str, depth: u32, left: &mut u32) -> Option<Member> {
        let (KIND_STRUCT | KIND_UNION, bit_fields, count, _, at) = self.head(id)? else { return None };
        for index in 0..count {
            *left = left.checked_sub(1)?;
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
                    && let Some(inner) = self.member_of(self.plain(type_id), name, depth + 1, left)
                {
                    return Some(Member { bit_offset: bit_offset.checked_add(inner.bit_offset)?, ..inner });
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

    /// The number of a function's parameters.
    #[must_use]
    pub fn parameters(&self, function: &str) -> Option<u32> {
        let (_, _, _, proto, _) = self.head(*self.functions.get(function)?)?;
        let (KIND_FUNC_PROTO, _, count, _, _) = self.head(proto)? else { return None };
        u32::try_from(count).ok()
    }

    /// The arguments of a tracepoint, by the names of the structures they point to (`""` if it is no pointer to a
    /// structure).
    #[must_use]
    pub fn tracepoint_arguments(&self, tracepoint: &str) -> Option<Vec<&str>> {
        let mut id = *self.typedefs.get(format!("btf_trace_{tracepoint}").as_str())?;
        // Bounded: a crafted file (`--btf`) may contain a cycle.
        for _ in 0..MOST_STEPS {
            let Some((KIND_TYPEDEF | KIND_PTR, _, _, to, _)) = self.head(id) else { break };
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::path::Path;

    use super::super::KIND_FUNC;
    use super::*;
    use tracer_fuzz::fuzz;

    /// A file of these types and names.
    fn file(types: &[u32], strings: &[u8]) -> Vec<u8> {
        let mut bytes = [0xeb9f_u16.to_ne_bytes(), [1, 0]].concat();
        let size = u32::try_from(types.len() * 4).unwrap();
        let head = [24, 0, size, size, u32::try_from(strings.len()).unwrap()];
        bytes.extend(head.iter().chain(types).flat_map(|number| number.to_ne_bytes()));
        bytes.extend(strings);
        bytes
    }

    /// BTF with one type of each of the three kinds of enumeration, and a typedef of one of them.
    fn enumerations() -> Vec<u8> {
        let strings = b"\0plain\0signed\0wide\0A\0B\0other\0";
        let at = |name: &str| u32::try_from(strings.windows(name.len()).position(|w| w == name.as_bytes()).unwrap());
        let (a, b) = (at("A\0").unwrap(), at("B\0").unwrap());
        let head = |kind: u32, signed: bool| kind << 24 | 2 | u32::from(signed) << 31;
        let mut types = vec![at("plain").unwrap(), head(KIND_ENUM, false), 4, a, 0, b, 0xffff_0000];
        types.extend([at("signed").unwrap(), head(KIND_ENUM, true), 4, a, 0xffff_ffff, b, 7]);
        types.extend([at("wide").unwrap(), head(KIND_ENUM64, false), 8, a, 1, 2, b, 3, 0]);
        types.extend([at("other").unwrap(), KIND_TYPEDEF << 24, 1]);
        file(&types, strings)
    }

    /// BTF with a structure that has a member of each kind, a function and a tracepoint.
    fn structures() -> Vec<u8> {
        let strings = b"\0int\0outer\0a\0b\0c\0btf_trace_x\0f\0";
        let at = |name: &str| {
            let name = format!("\0{name}\0");
            u32::try_from(strings.windows(name.len()).position(|w| w == name.as_bytes()).unwrap() + 1).unwrap()
        };
        let head = |kind: u32, count: u32| kind << 24 | count;
        let types = [
            // 1 to 3: a number, an array of two, a structure without a name.
            vec![at("int"), head(1, 0), 4, 32],
            vec![0, head(KIND_ARRAY, 0), 0, 1, 1, 2],
            vec![0, head(KIND_STRUCT, 1), 4, at("c"), 1, 0],
            // 4 and 5: a structure with all of them, and a pointer to it.
            vec![at("outer"), head(KIND_STRUCT, 3), 16, at("a"), 1, 0, at("b"), 2, 32, 0, 3, 96],
            vec![0, head(KIND_PTR, 0), 4],
            // 6 to 9.
            vec![0, head(KIND_FUNC_PROTO, 2), 0, 0, 5, 0, 5],
            vec![0, head(KIND_PTR, 0), 6],
            vec![at("btf_trace_x"), head(KIND_TYPEDEF, 0), 7],
            vec![at("f"), head(KIND_FUNC, 0), 6],
        ]
        .concat();
        file(&types, strings)
    }

    const WANTED: [&str; 8] = ["int", "outer", "btf_trace_x", "f", "plain", "signed", "wide", "other"];

    #[test]
    fn members_are_where_they_are() {
        let btf = Btf::parse(&structures(), &WANTED).unwrap();
        let bits = |path: &str| btf.member("outer", path).map(|member| member.bit_offset);
        assert_eq!([bits("a"), bits("b"), bits("c"), bits("d")], [Some(0), Some(32), Some(96), None]);
        assert_eq!([bits("b[1]"), bits("b[1073741824]"), bits("a[1]")], [Some(64), None, None]);
        assert_eq!((btf.parameters("f"), btf.tracepoint_arguments("x").unwrap()), (Some(2), vec!["outer"]));
    }

    #[test]
    fn a_bit_field_has_its_bits_of_its_byte() {
        let strings = b"\0flags\0a\0b\0";
        let (int, field) = (vec![0, 1 << 24, 1, 8], |bits: u32, at: u32| bits << 24 | at);
        let flags = vec![1, 1 << 31 | KIND_STRUCT << 24 | 2, 4, 7, 1, field(4, 16), 9, 1, field(1, 21)];
        let btf = Btf::parse(&file(&[int, flags].concat(), strings), &["flags"]).unwrap();
        let bits = |name| btf.member("flags", name).map(|member| (member.byte_offset(), member.mask()));
        assert_eq!([bits("a"), bits("b")], [Some((2, 0xf)), Some((2, 0x20))]);
    }

    #[test]
    fn types_that_lead_in_a_circle_have_an_end() {
        let mut bytes = structures();
        let place = |words: &[u32]| -> usize {
            let words: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            structures().windows(words.len()).position(|window| window == words).unwrap()
        };
        // The tracepoint's pointer points to itself, and the anonymous structure contains itself.
        let (pointer, member) = (place(&[KIND_PTR << 24, 6]) + 4, place(&[0, 3, 96]));
        bytes[pointer] = 7;
        let inner = place(&[KIND_STRUCT << 24 | 1, 4]) + 8;
        bytes.copy_within(member..member + 12, inner);
        let btf = Btf::parse(&bytes, &WANTED).unwrap();
        assert_eq!((btf.tracepoint_arguments("x"), btf.member("outer", "c")), (None, None));
    }

    #[test]
    fn garbage_is_no_type_and_no_panic() {
        let seeds = [enumerations(), structures()];
        fuzz(&seeds, |input| {
            let Ok(btf) = Btf::parse(input, &WANTED) else { return };
            for name in WANTED {
                let _ = (btf.function(name), btf.parameters(name), btf.has(name), btf.enumerator(name, "A"));
                let _ = btf.enum_values(name).map(Iterator::count);
                let _ = ["a", "b[1]", "c", "b.a[7].c"].map(|path| btf.member(name, path));
            }
            let _ = btf.tracepoint_arguments("x");
        });
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

    #[test]
    fn what_has_another_name_is_there_by_that_name() {
        let btf = Btf::parse(&enumerations(), &["wide", "other", "absent"]).unwrap();
        assert_eq!(["wide", "other", "absent", "plain"].map(|name| btf.has(name)), [true, true, false, false]);
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
