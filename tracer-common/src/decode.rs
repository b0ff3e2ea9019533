//! Checked decoding of records from the bytes of the ring or of a recording.

use crate::drops::{DropRecord, SegmentRecord};
use crate::record::{
    CloseRecord, EXEC_ARGS, EXEC_PATH, ExecRecord, ExitRecord, ForkRecord, Header, RECORD_VERSION, RecordKind,
    SocketRecord,
};

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// Every [`RecordKind`] without a type of its own.
    Socket(RecordKind, &'a SocketRecord),
    /// [`RecordKind::Close`].
    Close(&'a CloseRecord),
    /// [`RecordKind::Fork`].
    Fork(&'a ForkRecord),
    /// [`RecordKind::Exec`].
    Exec(&'a ExecRecord),
    /// [`RecordKind::Exit`].
    Exit(&'a ExitRecord),
    /// [`RecordKind::Drop`].
    Drop(&'a DropRecord),
    /// [`RecordKind::Retransmit`] and [`RecordKind::Reset`].
    Segment(RecordKind, &'a SegmentRecord),
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Fewer bytes than the kind needs.
    Short {
        /// Bytes there.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// The address is not a multiple of eight.
    Misaligned,
    /// A layout this program does not know.
    Version(u8),
    /// A kind this program does not know.
    Kind(u8),
    /// A length field larger than its array.
    Length(u32),
}

impl core::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Short { have, need } => write!(f, "record of {have} bytes where {need} are needed"),
            Self::Misaligned => f.write_str("record not aligned to eight bytes"),
            Self::Version(v) => write!(f, "record of layout version {v}, not {RECORD_VERSION}"),
            Self::Kind(k) => write!(f, "record of unknown kind {k}"),
            Self::Length(n) => write!(f, "record with an impossible length field {n}"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// A type for which any bytes of the right size and alignment are a valid value.
///
/// # Safety
/// The type is `repr(C)`, made of integers and arrays of integers only, and has no implicit padding.
unsafe trait Plain: Copy {}

// SAFETY: integers only; the size asserts in `record` rule out implicit padding.
unsafe impl Plain for Header {}
// SAFETY: as above.
unsafe impl Plain for SocketRecord {}
// SAFETY: as above.
unsafe impl Plain for CloseRecord {}
// SAFETY: as above.
unsafe impl Plain for ForkRecord {}
// SAFETY: as above.
unsafe impl Plain for ExecRecord {}
// SAFETY: as above.
unsafe impl Plain for ExitRecord {}
// SAFETY: as above; the size asserts are in `drops`.
unsafe impl Plain for DropRecord {}
// SAFETY: as above.
unsafe impl Plain for SegmentRecord {}

fn view<T: Plain>(bytes: &[u8]) -> Result<&T, DecodeError> {
    if bytes.len() < size_of::<T>() {
        return Err(DecodeError::Short { have: bytes.len(), need: size_of::<T>() });
    }
    let pointer = bytes.as_ptr().cast::<T>();
    if !pointer.is_aligned() {
        return Err(DecodeError::Misaligned);
    }
    // SAFETY: long enough and aligned (both checked above); every bit pattern is a `T` (`Plain`);
    // the reference borrows from `bytes`.
    Ok(unsafe { &*pointer })
}

/// Reads one record.
///
/// # Errors
/// When the bytes are too short for their kind, not aligned to eight, or of a version or kind that
/// this program does not know.
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, DecodeError> {
    let header: &Header = view(bytes)?;
    if header.version != RECORD_VERSION {
        return Err(DecodeError::Version(header.version));
    }
    let kind = RecordKind::from_number(header.kind).ok_or(DecodeError::Kind(header.kind))?;
    Ok(match kind {
        RecordKind::Close => Record::Close(view(bytes)?),
        RecordKind::Fork => Record::Fork(view(bytes)?),
        RecordKind::Exit => Record::Exit(view(bytes)?),
        RecordKind::Drop => Record::Drop(view(bytes)?),
        RecordKind::Retransmit | RecordKind::Reset => Record::Segment(kind, view(bytes)?),
        RecordKind::Exec => {
            let exec: &ExecRecord = view(bytes)?;
            if exec.path_len as usize > EXEC_PATH {
                return Err(DecodeError::Length(exec.path_len));
            }
            if exec.args_len as usize > EXEC_ARGS {
                return Err(DecodeError::Length(exec.args_len));
            }
            Record::Exec(exec)
        }
        _ => Record::Socket(kind, view(bytes)?),
    })
}

impl Record<'_> {
    /// `CLOCK_BOOTTIME` at the event, in nanoseconds.
    #[must_use]
    pub const fn boot_ns(&self) -> u64 {
        match self {
            Self::Socket(_, r) => r.header.boot_ns,
            Self::Close(r) => r.socket.header.boot_ns,
            Self::Fork(r) => r.header.boot_ns,
            Self::Exec(r) => r.header.boot_ns,
            Self::Exit(r) => r.header.boot_ns,
            Self::Drop(r) => r.header.boot_ns,
            Self::Segment(_, r) => r.header.boot_ns,
        }
    }
}

impl ExecRecord {
    /// Returns the path as given to execve.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        self.path.get(..self.path_len as usize).unwrap_or(&self.path)
    }

    /// Returns the kept arguments, each ended by a zero.
    #[must_use]
    pub fn args(&self) -> &[u8] {
        self.args.get(..self.args_len as usize).unwrap_or(&self.args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(8))]
    struct Aligned<const N: usize>([u8; N]);

    #[test]
    fn every_kind_needs_exactly_its_size() {
        for number in 0..=u8::MAX {
            let Some(kind) = RecordKind::from_number(number) else { continue };
            let mut bytes = Aligned([0; size_of::<ExecRecord>()]);
            bytes.0[0] = number;
            bytes.0[1] = RECORD_VERSION;
            assert!(decode(&bytes.0[..kind.size()]).is_ok(), "{kind:?}");
            assert_eq!(
                decode(&bytes.0[..kind.size() - 1]),
                Err(DecodeError::Short { have: kind.size() - 1, need: kind.size() })
            );
        }
    }

    #[test]
    fn what_is_not_a_record_is_refused() {
        let mut bytes = Aligned([0; size_of::<ExecRecord>() + 1]);
        assert_eq!(decode(&[]), Err(DecodeError::Short { have: 0, need: 16 }));
        bytes.0[1] = RECORD_VERSION;
        assert_eq!(decode(&bytes.0), Err(DecodeError::Kind(0)));
        bytes.0[0] = RecordKind::Close as u8;
        bytes.0[1] = RECORD_VERSION + 1;
        assert_eq!(decode(&bytes.0), Err(DecodeError::Version(RECORD_VERSION + 1)));
        assert_eq!(decode(&bytes.0[1..]), Err(DecodeError::Misaligned));
        bytes.0[0] = RecordKind::Exec as u8;
        bytes.0[1] = RECORD_VERSION;
        let path_len = core::mem::offset_of!(ExecRecord, path_len);
        bytes.0[path_len..path_len + 4].copy_from_slice(&257u32.to_ne_bytes());
        assert_eq!(decode(&bytes.0), Err(DecodeError::Length(257)));
    }
}
