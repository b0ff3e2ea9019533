//! Netlink attributes, and numbers at a place in bytes.

/// `NLA_ALIGNTO`
const ALIGN: usize = 4;
/// `struct nlattr`: length and type.
const HEADER: usize = 4;

/// The attributes in `bytes`: type and payload. Ends at one that is cut off.
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)?;
        let payload = self.0.get(HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some((kind, payload))
    }
}

pub(super) fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// In the host's order.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// In network order, as ports are.
pub(super) fn be16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// In the host's order.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// In the host's order.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Four words as they lie in memory.
pub(super) fn words_at(bytes: &[u8], at: usize) -> Option<[u32; 4]> {
    Some([u32_at(bytes, at)?, u32_at(bytes, at + 4)?, u32_at(bytes, at + 8)?, u32_at(bytes, at + 12)?])
}

/// Two words, the low one first; `None` for `INET_DIAG_NOCOOKIE`.
pub(super) fn cookie_at(bytes: &[u8], at: usize) -> Option<u64> {
    let cookie = u64::from(u32_at(bytes, at)?) | u64::from(u32_at(bytes, at + 4)?) << 32;
    (cookie != 0 && cookie != u64::MAX).then_some(cookie)
}
