//! A netlink socket of the thread's network namespace.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Room for one datagram: the kernel makes dumps of at most 32 KiB.
pub(super) const ROOM: usize = 64 * 1024;
/// How long the kernel may take for an answer, in seconds.
const PATIENCE: i64 = 5;

pub(super) struct Socket(OwnedFd);

impl Socket {
    pub(super) fn open(protocol: libc::c_int) -> io::Result<Self> {
        // SAFETY: no pointers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else knows it.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        let patience = libc::timeval { tv_sec: PATIENCE, tv_usec: 0 };
        // SAFETY: the value is valid for its length during the call.
        let set = unsafe {
            libc::setsockopt(
                fd,
                libc::SOL_SOCKET,
                libc::SO_RCVTIMEO,
                (&raw const patience).cast(),
                libc::socklen_t::try_from(size_of::<libc::timeval>()).unwrap_or_default(),
            )
        };
        if set < 0 { Err(io::Error::last_os_error()) } else { Ok(socket) }
    }

    pub(super) fn send(&self, request: &[u8]) -> io::Result<()> {
        // SAFETY: `request` is readable for its length. Without an address it goes to the kernel.
        let n = unsafe { libc::send(self.0.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) };
        if n < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// One datagram, from the kernel: to send to the socket of another process takes root.
    pub(super) fn receive(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            // SAFETY: `buf` is writable for its length.
            let n = unsafe { libc::recv(self.0.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), 0) };
            match usize::try_from(n) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => return Ok(n),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
    }
}
