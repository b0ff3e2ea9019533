//! Requests of sock_diag: each names a family and a protocol.

use std::io;

use super::is_unsupported;
use crate::netlink::Socket;

/// The type of requests and answers.
pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// Asks for IPv4 and for IPv6, which a kernel may lack; `true` if a table changed meanwhile.
pub(super) fn both_families(mut ask: impl FnMut(libc::c_int) -> io::Result<bool>) -> io::Result<bool> {
    let changed = ask(libc::AF_INET)?;
    match ask(libc::AF_INET6) {
        Err(error) if is_unsupported(&error) => Ok(changed),
        asked => asked.map(|too| changed | too),
    }
}

/// Gives the payload of each answer to `socket`; `true` if the table changed meanwhile.
pub(super) fn ask(diag: &mut Socket, request: &[u8], socket: impl FnMut(&[u8])) -> io::Result<bool> {
    diag.dump(SOCK_DIAG_BY_FAMILY, request, SOCK_DIAG_BY_FAMILY, socket)
}
