//! The rows of /proc/net/udp, udplite, raw and icmp, and of their IPv6 twins: one format
//! (net/ipv4/udp.c `udp4_format_sock`, net/ipv4/raw.c `raw_sock_seq_show`, net/ipv4/ping.c
//! `ping_v4_format_sock`, net/ipv6/datagram.c `__ip6_dgram_sock_seq_show`).

use super::cursor::Cursor;
use super::lines::SocketLine;
use super::tcp;

/// A socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// 4 or 6.
    pub family: u8,
    /// Local address: words in memory order, IPv4 in the first one.
    pub laddr: [u32; 4],
    /// Local port; for a raw socket the protocol, for an ICMP socket the identifier.
    pub lport: u16,
    /// Remote address, like `laddr`.
    pub raddr: [u32; 4],
    /// Remote port.
    pub rport: u16,
    /// 1 for a connected socket, else 7.
    pub state: u8,
    /// Bytes on their way out.
    pub tx_queue: u32,
    /// Bytes received and not yet read.
    pub rx_queue: u32,
    /// The user that made it.
    pub uid: u32,
    /// Inode of the socket's file.
    pub inode: u64,
    /// Datagrams dropped for lack of room.
    pub drops: u32,
}

impl SocketLine for Row {
    const HEADING: &[u8] = b"sl ";

    fn parse(line: &[u8]) -> Option<Self> {
        parse(line)
    }
}

/// Parses a line; `None` if it is not a row.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Row> {
    let mut text = Cursor(line.trim_ascii());
    // The row's number is the hash bucket; UDP has neither timers nor retransmits.
    let tcp::Row { family, laddr, lport, raddr, rport, state, tx_queue, rx_queue, retransmits: _, uid, inode } =
        tcp::row(&mut text)?;
    text.blanks()?;
    text.decimal()?; // references
    text.blanks()?;
    text.pointer()?;
    text.blanks()?;
    let drops = text.signed_u32()?;
    text.end_of_field()?;
    Some(Row { family, laddr, lport, raddr, rport, state, tx_queue, rx_queue, uid, inode, drops })
}
