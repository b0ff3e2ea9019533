//! The rows of /proc/net/unix (net/unix/af_unix.c `unix_seq_show`).
//!
//! The owner chooses the path, which may have line ends: it breaks its row, and the rest can look
//! like another row. sock_diag has names with their length.

use super::cursor::Cursor;
use super::lines::SocketLine;

/// `__SO_ACCEPTCON`: the socket listens.
const ACCEPTCON: u32 = 1 << 16;

/// A socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Whether it listens.
    pub listens: bool,
    /// `SOCK_STREAM` 1, `SOCK_DGRAM` 2, `SOCK_SEQPACKET` 5.
    pub kind: u16,
    /// `SS_UNCONNECTED` 1, `SS_CONNECTING` 2, `SS_CONNECTED` 3, `SS_DISCONNECTING` 4.
    pub state: u8,
    /// Inode of the socket's file; 0 for a connection that waits to be accepted.
    pub inode: u64,
    /// The name it is bound to; an abstract one begins with `@`, and has `@` for each zero byte.
    /// Hostile bytes.
    pub path: Option<Vec<u8>>,
}

impl SocketLine for Row {
    const HEADING: &[u8] = b"Num ";

    fn parse(line: &[u8]) -> Option<Self> {
        parse(line)
    }
}

/// Parses a line; `None` if it is not a row.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Row> {
    let mut text = Cursor(line);
    let (address, rest) = text.0.split_at(text.0.iter().position(|&c| c == b':')?);
    if address.is_empty() || address.contains(&b' ') {
        return None;
    }
    text.0 = rest;
    text.byte(b':')?;
    text.blanks()?;
    text.hex()?; // references
    text.blanks()?;
    text.hex()?; // protocol: always 0
    text.blanks()?;
    let flags = text.hex_u32()?;
    text.blanks()?;
    let kind = text.hex_u16()?;
    text.blanks()?;
    let state = u8::try_from(text.hex()?).ok()?;
    text.blanks()?;
    let inode = text.decimal()?;
    let path = match text.0 {
        [] => None,
        [b' '] => return None,
        [b' ', path @ ..] => Some(path.to_vec()),
        _ => return None,
    };
    Some(Row { listens: flags & ACCEPTCON != 0, kind, state, inode, path })
}
