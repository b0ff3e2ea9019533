//! The rows of /proc/net/sctp/eps and assocs (net/sctp/proc.c `sctp_eps_seq_show`,
//! `sctp_assocs_seq_show`).

use std::io::{self, BufRead};
use std::net::IpAddr;
use std::path::Path;
use std::str;

use super::cursor::Cursor;
use super::{Malformed, lines};

/// The most addresses read of one row.
const ADDRESSES: usize = 64;

/// An endpoint (a listener, or a socket that is not connected) or an association.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The state: the socket's for an endpoint (a TCP number), its own for an association
    /// (`SCTP_STATE_CLOSED` 0 to `SCTP_STATE_SHUTDOWN_ACK_SENT` 7).
    pub state: u8,
    /// Whether it is an association.
    pub association: bool,
    /// Bytes not yet acknowledged.
    pub tx_queue: u32,
    /// Bytes not yet read.
    pub rx_queue: u32,
    /// The user that made it.
    pub uid: u32,
    /// Inode of the socket's file.
    pub inode: u64,
    /// Local port.
    pub lport: u16,
    /// Remote port; 0 for an endpoint.
    pub rport: u16,
    /// Local addresses, the first `*` one in front.
    pub laddrs: Vec<IpAddr>,
    /// Remote addresses, the primary one (`*`) in front.
    pub raddrs: Vec<IpAddr>,
}

/// Passes every row of `table`, an `eps` or an `assocs`, to `sink` and returns their number.
///
/// # Errors
/// Errors of reading; `sink` has got the rows before.
pub fn read(
    table: impl BufRead,
    path: &Path,
    malformed: &mut Malformed,
    associations: bool,
    sink: impl FnMut(Row),
) -> io::Result<u64> {
    let parse = if associations { parse_association } else { parse_endpoint };
    let header = if associations { b"ASSOC " } else { b"ENDPT " };
    lines::each_row(table, path, malformed, lines::first(header), parse, sink)
}

/// Parses a line of `eps`; `None` if it is not a row.
#[must_use]
pub fn parse_endpoint(line: &[u8]) -> Option<Row> {
    let mut text = Cursor(line.trim_ascii());
    text.pointer()?;
    text.blanks()?;
    text.pointer()?;
    text.blanks()?;
    text.decimal()?; // style
    text.blanks()?;
    let state = u8::try_from(text.decimal()?).ok()?;
    text.blanks()?;
    text.signed_u32()?; // hash bucket
    text.blanks()?;
    let lport = u16::try_from(text.decimal()?).ok()?;
    text.blanks()?;
    let uid = text.decimal_u32()?;
    text.blanks()?;
    let inode = text.decimal()?;
    let laddrs = if text.0.is_empty() { Vec::new() } else { addresses(&mut text)? };
    text.0.is_empty().then_some(())?;
    Some(Row {
        state,
        association: false,
        tx_queue: 0,
        rx_queue: 0,
        uid,
        inode,
        lport,
        rport: 0,
        laddrs,
        raddrs: Vec::new(),
    })
}

/// Parses a line of `assocs`; `None` if it is not a row.
#[must_use]
pub fn parse_association(line: &[u8]) -> Option<Row> {
    let mut text = Cursor(line.trim_ascii());
    text.pointer()?;
    text.blanks()?;
    text.pointer()?;
    text.blanks()?;
    text.decimal()?; // style
    text.blanks()?;
    text.decimal()?; // state of the socket
    text.blanks()?;
    let state = u8::try_from(text.decimal()?).ok()?;
    text.blanks()?;
    text.signed_u32()?; // hash bucket
    text.blanks()?;
    text.signed_u32()?; // id
    text.blanks()?;
    let tx_queue = text.signed_u32()?;
    text.blanks()?;
    let rx_queue = text.signed_u32()?;
    text.blanks()?;
    let uid = text.decimal_u32()?;
    text.blanks()?;
    let inode = text.decimal()?;
    text.blanks()?;
    let lport = u16::try_from(text.decimal()?).ok()?;
    text.blanks()?;
    let rport = u16::try_from(text.decimal()?).ok()?;
    let laddrs = addresses(&mut text)?;
    text.0 = text.0.strip_prefix(b"<->")?;
    let raddrs = addresses(&mut text)?;
    Some(Row { state, association: true, tx_queue, rx_queue, uid, inode, lport, rport, laddrs, raddrs })
}

/// Takes addresses with blanks before each and after the last, up to the first other word. The
/// address marked `*` comes first.
fn addresses(text: &mut Cursor<'_>) -> Option<Vec<IpAddr>> {
    let mut found = Vec::new();
    loop {
        text.blanks()?;
        let before = text.0;
        // Timers and counts follow the remote addresses.
        let Some(word) = text.word_field() else { return Some(found) };
        let (first, word) = match word {
            [b'*', rest @ ..] => (true, rest),
            _ => (false, word),
        };
        let Some(addr) = str::from_utf8(word).ok().and_then(|word| word.parse().ok()) else {
            text.0 = before;
            return Some(found);
        };
        if found.len() >= ADDRESSES {
            return None;
        }
        found.insert(if first { 0 } else { found.len() }, addr);
        if text.0.is_empty() {
            return Some(found);
        }
    }
}
