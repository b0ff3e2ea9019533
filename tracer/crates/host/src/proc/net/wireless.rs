//! /proc/net/wireless: signal and discarded packets of wireless devices
//! (`wireless_seq_printf_stats`, net/wireless/wext-proc.c).

use std::io::{self, BufRead};
use std::path::Path;

use super::super::dir::decimal;
use super::Malformed;
use super::fields::{Fields, signed, text};
use super::lines;

/// A wireless device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wireless {
    /// Its name. Hostile bytes.
    pub name: String,
    /// The driver's own status.
    pub status: u16,
    /// Quality of the link, in the driver's scale.
    pub link: i32,
    /// Signal level, mostly dBm.
    pub level: i32,
    /// Noise level, mostly dBm.
    pub noise: i32,
    /// Packets discarded: wrong network, undecipherable, fragments missing, too many retries, other;
    /// and beacons missed.
    pub discarded: [u64; 6],
}

/// Reads every wireless device.
///
/// # Errors
/// Errors of reading.
pub fn read(table: impl BufRead, path: &Path, malformed: &mut Malformed) -> io::Result<Vec<Wireless>> {
    lines::rows(table, path, malformed, |number, line| number <= 2 && line.contains(&b'|'), parse)
}

fn parse(line: &[u8]) -> Option<Wireless> {
    let mut fields = Fields::new(line);
    let name = text(fields.label()?);
    let status = fields.hex()?;
    let mut quality = || -> Option<i32> {
        let word = fields.word()?;
        // A point marks a new value.
        i32::try_from(signed(word.strip_suffix(b".").unwrap_or(word))?).ok()
    };
    let (link, level, noise) = (quality()?, quality()?, quality()?);
    let mut discarded = [0; 6];
    for count in &mut discarded {
        *count = decimal(fields.word()?)?;
    }
    fields.end()?;
    Some(Wireless { name, status, link, level, noise, discarded })
}
