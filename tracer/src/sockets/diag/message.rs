//! Requests, and the cutting of what is received into messages.

use super::attribute::{u16_at, u32_at};

/// `struct nlmsghdr`
pub(super) const HEADER: usize = 16;
/// `SOCK_DIAG_BY_FAMILY`
const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// A message of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// One socket.
    Socket(&'a [u8]),
    /// The dump is over, with this errno (0: fine).
    Done(i32),
    /// Something else.
    Other,
}

/// A request for a dump with `payload` after the header.
pub(super) fn request(sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + payload.len()).unwrap_or(u32::MAX);
    let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_DUMP).unwrap_or_default();
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(payload);
    bytes
}

/// The messages in what one recv() gave that belong to the request `sequence`.
pub(super) struct Messages<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) sequence: u32,
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        loop {
            let length = usize::try_from(u32_at(self.bytes, 0)?).ok()?;
            let kind = u16_at(self.bytes, 4)?;
            let sequence = u32_at(self.bytes, 8)?;
            let payload = self.bytes.get(HEADER..length)?;
            self.bytes = self.bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
            if sequence != self.sequence {
                continue;
            }
            let errno = || u32_at(payload, 0).map_or(0, |value| value.cast_signed().wrapping_neg());
            return Some(match i32::from(kind) {
                libc::NLMSG_DONE | libc::NLMSG_ERROR => Message::Done(errno()),
                _ if kind == SOCK_DIAG_BY_FAMILY => Message::Socket(payload),
                _ => Message::Other,
            });
        }
    }
}
