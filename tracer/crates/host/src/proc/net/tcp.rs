//! The rows of /proc/net/tcp and tcp6.
//!
//! A host may have hundreds of thousands of rows, so a row costs no allocation. The kernel gives the
//! table a page at a time: sockets that come or go meanwhile may be missing or appear twice.

use super::cursor::Cursor;
use super::lines::SocketLine;
use tracer_stream::TcpState;

/// A socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// 4 or 6.
    pub family: u8,
    /// Local address: words in memory order, IPv4 in the first one (as in the kernel records).
    pub laddr: [u32; 4],
    /// Local port.
    pub lport: u16,
    /// Remote address, like `laddr`.
    pub raddr: [u32; 4],
    /// Remote port.
    pub rport: u16,
    /// The state's number; the kernel shows `NEW_SYN_RECV` as `SYN_RECV`.
    pub state: u8,
    /// Bytes written and not yet acknowledged.
    pub tx_queue: u32,
    /// Bytes received and not yet read; for listeners, connections that wait for accept().
    pub rx_queue: u32,
    /// Retransmits of the oldest unacknowledged segment, not of the whole connection.
    pub retransmits: u32,
    /// The filesystem uid that made the socket; 0 for `TIME_WAIT`.
    pub uid: u32,
    /// Inode of the socket's file; 0 where it has none (`TIME_WAIT`, `SYN_RECV`, not accepted,
    /// closed by its process).
    pub inode: u64,
}

impl Row {
    /// Returns the state, if it is a known one.
    #[must_use]
    pub const fn tcp_state(&self) -> Option<TcpState> {
        TcpState::from_number(self.state)
    }
}

impl SocketLine for Row {
    const HEADING: &[u8] = b"sl ";

    fn parse(line: &[u8]) -> Option<Self> {
        parse(line)
    }
}

/// Parses a line, with or without its end; `None` if it is not a row.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Row> {
    let mut text = Cursor(line.trim_ascii());
    let row = row(&mut text)?;
    text.end_of_field()?;
    Some(row)
}

/// Parses the fields up to the inode, which the tables of other protocols share with TCP.
pub(super) fn row(text: &mut Cursor<'_>) -> Option<Row> {
    text.decimal()?; // the row's number
    text.byte(b':')?;
    text.blanks()?;
    let (family, laddr) = text.address()?;
    text.byte(b':')?;
    let lport = text.hex_u16()?;
    text.blanks()?;
    let (remote_family, raddr) = text.address()?;
    text.byte(b':')?;
    let rport = text.hex_u16()?;
    if family != remote_family {
        return None;
    }
    text.blanks()?;
    let state = u8::try_from(text.hex()?).ok()?;
    text.blanks()?;
    let tx_queue = text.hex_u32()?;
    text.byte(b':')?;
    let rx_queue = text.hex_u32()?;
    text.blanks()?;
    text.hex()?; // which timer
    text.byte(b':')?;
    text.hex()?; // when it fires
    text.blanks()?;
    let retransmits = text.hex_u32()?;
    text.blanks()?;
    let uid = text.decimal_u32()?;
    text.blanks()?;
    text.decimal()?; // unanswered probes
    text.blanks()?;
    let inode = text.decimal()?;
    Some(Row { family, laddr, lport, raddr, rport, state, tx_queue, rx_queue, retransmits, uid, inode })
}

#[cfg(test)]
#[path = "tcp_tests.rs"]
mod tests;
