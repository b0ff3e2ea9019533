//! Builds requests, and cuts received bytes into messages, with every length checked.

use std::io;

use super::attribute::{u16_at, u32_at};

/// `struct nlmsghdr`: u32 length, u16 type, u16 flags, u32 sequence, u32 port.
pub const HEADER: usize = 16;
/// `NLMSG_ALIGNTO`
const ALIGN: usize = 4;
/// `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH`: a dump.
const DUMP: u16 = 0x1 | 0x100 | 0x200;
/// `NLM_F_DUMP_INTR`: the table changed after the dump began (from Linux 3.1 on).
const DUMP_INTR: u16 = 0x10;

/// `NLM_F_REQUEST`: a request for one thing.
const ONE: u16 = 0x1;

/// Builds a request for a dump: `kind` is the message's type, `body` follows the header.
pub fn request(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    message(kind, DUMP, sequence, body)
}

/// Builds a request for one thing.
pub fn question(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    message(kind, ONE, sequence, body)
}

fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    message.extend_from_slice(&sequence.to_ne_bytes());
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(body);
    message
}

/// One message of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

/// Iterates over the messages of a datagram. A truncated message ends the iteration.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let length = usize::try_from(u32_at(self.0, 0)?).ok()?;
        let (kind, flags, sequence) = (u16_at(self.0, 4)?, u16_at(self.0, 6)?, u32_at(self.0, 8)?);
        let payload = self.0.get(HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some(Message { kind, flags, sequence, payload })
    }
}

/// The incoming answer to one request.
pub struct Answer {
    /// Number of the request: answers to other requests are skipped.
    sequence: u32,
    /// Type of the wanted messages.
    kind: u16,
    /// Whether the table changed during the dump: rows may be missing or doubled.
    pub changed: bool,
}

impl Answer {
    /// Waits for messages of type `kind` in answers to request `sequence`.
    #[must_use]
    pub const fn new(sequence: u32, kind: u16) -> Self {
        Self { sequence, kind, changed: false }
    }

    /// Passes the payload of every wanted message in `datagram` to `each`; `true` at the end of the
    /// dump.
    pub fn take(&mut self, datagram: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<bool> {
        for message in Messages(datagram).filter(|message| message.sequence == self.sequence) {
            self.changed |= message.flags & DUMP_INTR != 0;
            match message.kind {
                DONE => return result(message.payload).map(|()| true),
                ERROR => {
                    result(message.payload)?;
                    let acknowledged = "the kernel acknowledged instead of answering";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, acknowledged));
                }
                kind if kind == self.kind => each(message.payload),
                _ => {}
            }
        }
        Ok(false)
    }
}

/// Reads the result in `ERROR` and `DONE`: a negative errno, or 0.
fn result(payload: &[u8]) -> io::Result<()> {
    match u32_at(payload, 0).map(u32::cast_signed) {
        Some(error) if error < 0 => Err(io::Error::from_raw_os_error(error.wrapping_neg())),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = request(kind, sequence, payload);
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes
    }

    /// Parses `datagram` as the answer to request 9 for messages of type 20: whether it ends the dump,
    /// its payloads, and whether the table changed.
    fn taken(datagram: &[u8]) -> (io::Result<bool>, Vec<Vec<u8>>, bool) {
        let (mut answer, mut payloads) = (Answer::new(9, 20), Vec::new());
        let end = answer.take(datagram, |payload| payloads.push(payload.to_vec()));
        (end, payloads, answer.changed)
    }

    #[test]
    fn a_request_is_one_message() {
        let bytes = request(18, 7, &[1, 2, 3, 4]);
        let mut messages = Messages(&bytes);
        let expected = Message { kind: 18, flags: 0x301, sequence: 7, payload: &[1, 2, 3, 4] };
        assert_eq!((messages.next(), messages.next()), (Some(expected), None));
    }

    #[test]
    fn what_is_cut_or_wrong_ends_the_messages() {
        let whole = request(18, 1, &[0; 5]);
        for length in 0..whole.len() {
            assert!(Messages(&whole[..length]).next().is_none(), "{length}");
        }
        for length in [0u32, 15, u32::MAX] {
            let mut bytes = whole.clone();
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert!(Messages(&bytes).next().is_none(), "{length}");
        }
    }

    #[test]
    fn only_what_was_asked_for_is_an_answer() {
        let late = [message(20, 0, 8, &[1; 4]), message(DONE, 0, 8, &[0; 4])].concat();
        let own = [message(20, 0, 9, &[2; 4]), message(19, 0, 9, &[3; 4]), message(20, 0, 9, &[4; 4])].concat();
        let (end, payloads, changed) = taken(&[late, own.clone()].concat());
        assert_eq!((end.unwrap(), payloads, changed), (false, vec![vec![2; 4], vec![4; 4]], false));
        let (end, payloads, _) = taken(&[own, message(DONE, 0, 9, &[0; 4])].concat());
        assert_eq!((end.unwrap(), payloads.len()), (true, 2));
    }

    #[test]
    fn what_the_kernel_refuses_is_its_error() {
        for kind in [ERROR, DONE] {
            let (end, ..) = taken(&message(kind, 0, 9, &(-libc::ENOENT).to_ne_bytes()));
            assert_eq!(end.unwrap_err().raw_os_error(), Some(libc::ENOENT));
        }
        let (end, ..) = taken(&message(ERROR, 0, 9, &[0; 4]));
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::InvalidData, "an acknowledgement is no table");
        assert!(!taken(&message(ERROR, 0, 8, &[0xff; 4])).0.unwrap(), "not ours");
    }

    #[test]
    fn a_table_that_changed_is_known() {
        for datagram in [
            [message(20, DUMP_INTR | 0x2, 9, &[1; 4]), message(DONE, 0, 9, &[0; 4])].concat(),
            [message(20, 0x2, 9, &[1; 4]), message(DONE, DUMP_INTR, 9, &[0; 4])].concat(),
        ] {
            let (end, payloads, changed) = taken(&datagram);
            assert_eq!((end.unwrap(), payloads.len(), changed), (true, 1, true));
        }
        assert!(!taken(&message(20, DUMP_INTR, 8, &[1; 4])).2, "not ours");
    }
}
