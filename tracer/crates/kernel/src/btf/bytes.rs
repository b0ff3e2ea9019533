//! The bytes of type information: mapped where the kernel allows it, else read.

use std::fs;
use std::io;
use std::ops::Deref;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use super::BtfError;

/// The file, read or mapped.
pub(super) enum Bytes {
    Read(Vec<u8>),
    Mapped(*const u8, usize),
}

// SAFETY: a mapping that is never written to, and that only its owner removes.
unsafe impl Send for Bytes {}
// SAFETY: as above.
unsafe impl Sync for Bytes {}

/// The largest accepted file. A kernel's own type information has a fortieth of that.
const MOST: u64 = 256 << 20;

impl Bytes {
    /// The file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, BtfError> {
        let unreadable = |source| BtfError::Read { path: path.display().to_string(), source };
        // A pipe may wait for a writer forever, and a device may have no end.
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(unreadable(io::Error::other("it is no ordinary file")));
        }
        if metadata.len() > MOST {
            return Err(BtfError::Malformed("it is longer than type information can be"));
        }
        let file = fs::File::open(path).map_err(unreadable)?;
        // An ordinary file may be truncated while it is mapped.
        let mapped = if path.starts_with("/sys/kernel/btf") { Self::map(&file) } else { None };
        match mapped {
            Some(bytes) => Ok(bytes),
            None => fs::read(path).map(Self::Read).map_err(unreadable),
        }
    }

    /// Maps the kernel's own file, which a kernel allows from 6.16 on (a529a7a73a47): a read returns a page at a time,
    /// and there are more than a thousand.
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
            // SAFETY: our own mapping, without any remaining reference.
            unsafe { libc::munmap(start.cast_mut().cast(), *length) };
        }
    }
}
