//! The rows of /proc/net/netlink (net/netlink/af_netlink.c `netlink_native_seq_show`).

use super::cursor::Cursor;
use super::lines::SocketLine;

/// A socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// `NETLINK_ROUTE` 0 and so on.
    pub protocol: u8,
    /// The address: often the process's id, 0 for the kernel's own sockets.
    pub portid: u32,
    /// The first 32 multicast groups that it has joined.
    pub groups: u32,
    /// Bytes received and not yet read.
    pub rx_queue: u32,
    /// Bytes on their way out.
    pub tx_queue: u32,
    /// Messages dropped for lack of room.
    pub drops: u32,
    /// Inode of the socket's file; 0 for the kernel's own.
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
    let protocol = u8::try_from(text.decimal()?).ok()?;
    text.blanks()?;
    let portid = text.decimal_u32()?;
    text.blanks()?;
    let groups = text.hex_u32()?;
    text.blanks()?;
    let rx_queue = text.signed_u32()?;
    text.blanks()?;
    let tx_queue = text.signed_u32()?;
    text.blanks()?;
    text.decimal()?; // a dump is running
    text.blanks()?;
    text.decimal()?; // references
    text.blanks()?;
    let drops = text.signed_u32()?;
    text.blanks()?;
    let inode = text.decimal()?;
    text.end_of_field()?;
    Some(Row { protocol, portid, groups, rx_queue, tx_queue, drops, inode })
}
