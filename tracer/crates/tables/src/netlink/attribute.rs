//! Attributes, and numbers at an offset in bytes.

use std::net::IpAddr;

/// `NLA_ALIGNTO`
const ALIGN: usize = 4;
/// `struct nlattr`: u16 length, u16 type.
const HEADER: usize = 4;
/// `NLA_F_NESTED | NLA_F_NET_BYTEORDER`: marks in the type.
const MARKS: u16 = 0xc000;

/// Iterates over attributes: type and payload. A truncated attribute ends the iteration.
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Returns the attributes after a header of `skip` bytes.
    #[must_use]
    pub fn after(skip: usize, bytes: &'a [u8]) -> Self {
        Self(bytes.get(skip..).unwrap_or_default())
    }

    /// Returns the attributes in a nested attribute.
    #[must_use]
    pub const fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & !MARKS;
        let payload = self.0.get(HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some((kind, payload))
    }
}

/// Appends an attribute to a request.
pub fn put(request: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(HEADER + value.len()).unwrap_or(u16::MAX);
    request.extend_from_slice(&length.to_ne_bytes());
    request.extend_from_slice(&kind.to_ne_bytes());
    request.extend_from_slice(value);
    request.resize(request.len().next_multiple_of(ALIGN), 0);
}

/// Returns the `N` bytes at `at`; `None` if `bytes` ends before.
fn at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

/// Reads a byte.
#[must_use]
pub fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// Reads a number in the host's order.
#[must_use]
pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    at(bytes, offset).map(u16::from_ne_bytes)
}

/// Reads a number in network order, such as a port.
#[must_use]
pub fn be16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    at(bytes, offset).map(u16::from_be_bytes)
}

/// Reads a number in the host's order.
#[must_use]
pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    at(bytes, offset).map(u32::from_ne_bytes)
}

/// Reads a number in network order, which nftables uses.
#[must_use]
pub fn be32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    at(bytes, offset).map(u32::from_be_bytes)
}

/// Reads a number in the host's order.
#[must_use]
pub fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    at(bytes, offset).map(u64::from_ne_bytes)
}

/// Reads a number in network order, which nftables uses.
#[must_use]
pub fn be64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    at(bytes, offset).map(u64::from_be_bytes)
}

/// Converts an address of 4 or 16 bytes.
#[must_use]
pub fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => at::<4>(bytes, 0).map(IpAddr::from),
        16 => at::<16>(bytes, 0).map(IpAddr::from),
        _ => None,
    }
}

/// Converts text that may end with a zero byte. Hostile.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.strip_suffix(b"\0").unwrap_or(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_ends_the_attributes() {
        assert_eq!(Attributes::of(&[0; 8]).count(), 0, "no progress");
        assert_eq!(Attributes::of(&[5, 0, 1, 0, 9]).collect::<Vec<_>>(), [(1, &[9][..])], "no padding at the end");
        assert_eq!(Attributes::of(&[6, 0, 1, 0, 9]).count(), 0);
        assert_eq!(Attributes::after(4, &[]).count(), 0);
    }

    #[test]
    fn marks_are_no_part_of_a_type() {
        let bytes = [&4_u16.to_ne_bytes()[..], &0x8003_u16.to_ne_bytes()].concat();
        assert_eq!(Attributes::of(&bytes).collect::<Vec<_>>(), [(3, &[][..])]);
    }

    #[test]
    fn numbers_that_are_not_all_there_are_none() {
        let bytes = [1, 2, 3, 4, 5, 6, 7];
        assert_eq!((u8_at(&bytes, 6), u8_at(&bytes, 7)), (Some(7), None));
        assert_eq!((be16_at(&bytes, 5), be16_at(&bytes, 6), u16_at(&bytes, usize::MAX)), (Some(0x0607), None, None));
        assert_eq!((be32_at(&bytes, 3), u32_at(&bytes, 4)), (Some(0x0405_0607), None));
        assert_eq!((u64_at(&bytes, 0), be64_at(&bytes, 0)), (None, None));
        assert_eq!(address(&bytes[..4]), Some([1, 2, 3, 4].into()));
        assert_eq!(address(&bytes), None);
    }
}
