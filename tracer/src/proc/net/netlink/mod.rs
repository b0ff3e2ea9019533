//! The little that only netlink tells: devices with their state, addresses, neighbours with their
//! states, and the queues of listeners with their limits. RFC 3549; include/uapi/linux/netlink.h.
//!
//! Only dumps are asked for: nothing is changed, no privilege is needed.

pub mod addr;
pub mod link;
pub mod listen;
mod message;
pub mod neigh;
pub mod nftables;
mod socket;

use std::io;

/// Asks for a dump and gives the payload of every message of type `kind` to `each`.
///
/// # Errors
/// Those of the socket, and what the kernel answers.
fn dump(protocol: libc::c_int, request: u16, body: &[u8], kind: u16, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let socket = socket::Socket::open(protocol)?;
    socket.send(&message::request(request, body))?;
    let mut buf = vec![0; socket::ROOM];
    loop {
        let n = socket.receive(&mut buf)?;
        for message in message::Messages::new(buf.get(..n).unwrap_or_default()) {
            match message.kind {
                message::DONE => return message.result(),
                message::ERROR => {
                    message.result()?;
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the kernel acknowledged instead of answering",
                    ));
                }
                found if found == kind => each(message.payload),
                _ => {}
            }
        }
    }
}

/// Takes a datagram apart as [`dump`] does.
#[cfg(test)]
pub(super) fn walk(datagram: &[u8]) {
    for message in message::Messages::new(datagram) {
        let _ = message.result();
    }
}
