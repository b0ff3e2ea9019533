//! Netlink messages and their attributes, taken from bytes with every length checked.

use std::io;

/// `NLMSG_ERROR` and `NLMSG_DONE`.
pub(super) const ERROR: u16 = 2;
pub(super) const DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH`: a dump.
const DUMP: u16 = 0x1 | 0x100 | 0x200;
/// `struct nlmsghdr`: u32 length, u16 type, u16 flags, u32 sequence, u32 port.
const HEADER: usize = 16;
/// `struct nlattr`: u16 length, u16 type.
const ATTRIBUTE: usize = 4;
/// `NLA_F_NESTED | NLA_F_NET_BYTEORDER`.
const TYPE_FLAGS: u16 = 0xc000;

/// A request for a dump.
pub(super) fn request(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&DUMP.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(body);
    message
}

/// One message of a datagram.
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) payload: &'a [u8],
}

impl Message<'_> {
    /// What `ERROR` and `DONE` say: a negative errno, or 0.
    pub(super) fn result(&self) -> io::Result<()> {
        match u32_at(self.payload, 0).map(u32::cast_signed) {
            Some(error) if error < 0 => Err(io::Error::from_raw_os_error(error.wrapping_neg())),
            _ => Ok(()),
        }
    }
}

/// The messages of a datagram. What is cut ends them.
pub(super) struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    pub(super) fn new(datagram: &'a [u8]) -> Self {
        Self(datagram)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let length = usize::try_from(u32_at(self.0, 0)?).ok()?;
        let kind = u16_at(self.0, 4)?;
        let payload = self.0.get(HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, payload })
    }
}

/// The attributes after a header of `skip` bytes, type and value each. What is cut ends them.
pub(super) fn attributes(payload: &[u8], skip: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = payload.get(skip..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & !TYPE_FLAGS;
        let value = rest.get(ATTRIBUTE..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The number at `offset`, in the host's order.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(offset..)?.first_chunk::<4>().copied()?))
}

/// The number at `offset`, in the host's order.
pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(offset..)?.first_chunk::<2>().copied()?))
}

/// An address of 4 or 16 bytes.
pub(super) fn address(bytes: &[u8]) -> Option<std::net::IpAddr> {
    match bytes.len() {
        4 => Some(bytes.first_chunk::<4>().copied()?.into()),
        16 => Some(bytes.first_chunk::<16>().copied()?.into()),
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_message() {
        let bytes = request(18, &[1, 2, 3, 4]);
        let mut messages = Messages::new(&bytes);
        let message = messages.next().unwrap();
        assert_eq!((message.kind, message.payload), (18, &[1, 2, 3, 4][..]));
        assert!(messages.next().is_none());
    }

    #[test]
    fn what_is_cut_or_wrong_ends_the_messages() {
        let whole = request(18, &[0; 5]);
        for length in 0..whole.len() {
            assert!(Messages::new(&whole[..length]).next().is_none(), "{length}");
        }
        for length in [0u32, 15, u32::MAX] {
            let mut bytes = whole.clone();
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert!(Messages::new(&bytes).next().is_none(), "{length}");
        }
        assert_eq!(attributes(&[0, 0, 0, 0, 0, 0, 0, 0], 0).count(), 0, "no progress");
        assert_eq!(attributes(&[5, 0, 1, 0, 9], 0).collect::<Vec<_>>(), [(1, &[9][..])], "no padding at the end");
        assert_eq!(attributes(&[], 4).count(), 0);
    }
}
