//! /proc/net/nf_conntrack: the tracked connections (`ct_seq_show`,
//! net/netfilter/nf_conntrack_standalone.c). Only root may read it; many kernels are built without it.
//!
//! A row borrows its line, because there may be millions.

use std::io::{self, BufRead};
use std::net::IpAddr;
use std::path::Path;

use super::Malformed;
use super::fields::Fields;
use super::lines;
use crate::proc::dir::decimal;

/// A tracked connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// 4 or 6.
    pub family: u8,
    /// The protocol's name, `unknown` if the kernel has none.
    pub protocol: &'a str,
    /// `IPPROTO_*`.
    pub protocol_number: u8,
    /// Seconds until it expires without a packet; `None` if a device handles it.
    pub timeout: Option<u64>,
    /// Its state, where the protocol has one (`ESTABLISHED`).
    pub state: Option<&'a str>,
    /// The source of the first packet.
    pub src: IpAddr,
    /// The destination of the first packet.
    pub dst: IpAddr,
    /// Source port, where the protocol has ports.
    pub sport: Option<u16>,
    /// Destination port.
    pub dport: Option<u16>,
    /// Whether no packet came back.
    pub unreplied: bool,
    /// Whether the kernel keeps it when the table is full.
    pub assured: bool,
}

/// Passes every connection to `sink`.
///
/// # Errors
/// Errors of reading; `sink` has got the rows before.
pub fn read(
    table: impl BufRead,
    path: &Path,
    malformed: &mut Malformed,
    mut sink: impl FnMut(&Entry<'_>),
) -> io::Result<()> {
    lines::each(table, path, malformed, |_, line| parse(line).map(|entry| sink(&entry)))
}

/// Parses a line.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let mut fields = Fields::new(line);
    fields.word()?; // name of the family
    let family = match fields.number::<u8>()? {
        2 => 4,
        10 => 6,
        _ => return None,
    };
    let protocol = str::from_utf8(fields.word()?).ok()?;
    let protocol_number = fields.number()?;
    let (mut timeout, mut state) = (None, None);
    let src = loop {
        let word = fields.word()?;
        if let Some(src) = word.strip_prefix(b"src=") {
            break src;
        }
        match decimal(word) {
            Some(seconds) if timeout.is_none() && state.is_none() => timeout = Some(seconds),
            // GRE shows its two timeouts instead.
            _ if word.contains(&b'=') => {}
            _ if state.is_none() => state = Some(str::from_utf8(word).ok()?),
            _ => return None,
        }
    };
    let address = |text: &[u8]| -> Option<IpAddr> {
        let address: IpAddr = str::from_utf8(text).ok()?.parse().ok()?;
        (address.is_ipv4() == (family == 4)).then_some(address)
    };
    let (src, dst) = (address(src)?, address(fields.word()?.strip_prefix(b"dst=")?)?);
    let mut entry = Entry {
        family,
        protocol,
        protocol_number,
        timeout,
        state,
        src,
        dst,
        sport: None,
        dport: None,
        unreplied: false,
        assured: false,
    };
    let mut replies = false;
    while let Some(word) = fields.word() {
        match word {
            b"[UNREPLIED]" => entry.unreplied = true,
            b"[ASSURED]" => entry.assured = true,
            _ if word.starts_with(b"src=") => replies = true,
            _ => {
                for (prefix, port) in [(&b"sport="[..], &mut entry.sport), (b"dport=", &mut entry.dport)] {
                    if let Some(number) = word.strip_prefix(prefix)
                        && !replies
                    {
                        *port = Some(u16::try_from(decimal(number)?).ok()?);
                    }
                }
            }
        }
    }
    // Every row has the tuple of the replies.
    replies.then_some(entry)
}
