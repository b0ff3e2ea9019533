//! The rows of /proc/net/packet (net/packet/af_packet.c `packet_seq_show`).

use super::cursor::Cursor;
use super::lines::SocketLine;

/// A socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// `SOCK_DGRAM` 2, `SOCK_RAW` 3, `SOCK_PACKET` 10.
    pub kind: u16,
    /// The Ethernet protocol, host order; 3 is all of them.
    pub protocol: u16,
    /// The interface that it is bound to; 0 is all of them.
    pub ifindex: u32,
    /// Bytes received and not yet read.
    pub rx_queue: u32,
    /// The user that made it.
    pub uid: u32,
    /// Inode of the socket's file.
    pub inode: u64,
}

impl SocketLine for Row {
    const HEADING: &[u8] = b"sk ";

    fn parse(line: &[u8]) -> Option<Self> {
        parse(line)
    }
}

/// Parses a line; `None` if it is not a row.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Row> {
    let mut text = Cursor(line.trim_ascii());
    text.pointer()?;
    text.blanks()?;
    text.decimal()?; // references
    text.blanks()?;
    let kind = u16::try_from(text.decimal()?).ok()?;
    text.blanks()?;
    let protocol = text.hex_u16()?;
    text.blanks()?;
    // -1 for an interface that is gone.
    let ifindex = text.signed_u32()?;
    text.blanks()?;
    text.decimal()?; // whether it is bound
    text.blanks()?;
    let rx_queue = text.decimal_u32()?;
    text.blanks()?;
    let uid = text.decimal_u32()?;
    text.blanks()?;
    let inode = text.decimal()?;
    text.end_of_field()?;
    Some(Row { kind, protocol, ifindex, rx_queue, uid, inode })
}
