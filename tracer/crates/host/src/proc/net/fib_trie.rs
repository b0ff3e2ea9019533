//! /proc/net/fib_trie: the IPv4 routing tables as the kernel keeps them (`fib_trie_seq_show`,
//! net/ipv4/fib_trie.c), including the table `local` with this namespace's addresses.
//!
//! It names no devices. Where `local` and `main` share a trie (no rules of policy routing) the kernel
//! prints it under both names.

use std::io::{self, BufRead};
use std::net::Ipv4Addr;
use std::path::Path;

use super::Malformed;
use super::fields::{Fields, text};
use super::lines;

/// `RT_TABLE_MAIN` and `RT_TABLE_LOCAL`.
pub const MAIN: u32 = 254;
/// See [`MAIN`].
pub const LOCAL: u32 = 255;

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its table's number.
    pub table: u32,
    /// The destination.
    pub destination: Ipv4Addr,
    /// Length of the prefix.
    pub prefix: u8,
    /// `universe`, `site`, `link`, `host`, `nowhere` or `scope-N`.
    pub scope: String,
    /// `UNICAST`, `LOCAL`, `BROADCAST` … or `type N`.
    pub kind: String,
}

impl Route {
    /// Whether it leads to an address of this namespace.
    #[must_use]
    pub fn is_own_address(&self) -> bool {
        self.kind == "LOCAL" && self.prefix == 32
    }
}

/// Reads every route.
///
/// # Errors
/// Errors of reading.
pub fn read(table: impl BufRead, path: &Path, malformed: &mut Malformed) -> io::Result<Vec<Route>> {
    let mut routes = Vec::new();
    let mut place = Place { table: None, leaf: None };
    lines::each(table, path, malformed, |_, line| place.line(line, &mut routes))?;
    Ok(routes)
}

/// The position of the next line in the tries.
struct Place {
    table: Option<u32>,
    /// The destination of the routes that follow.
    leaf: Option<Ipv4Addr>,
}

impl Place {
    fn line(&mut self, line: &[u8], routes: &mut Vec<Route>) -> Option<()> {
        let line = line.trim_ascii();
        if let Some(name) = line.strip_suffix(b":") {
            (self.table, self.leaf) = (Some(table(name)?), None);
        } else if let Some(node) = line.strip_prefix(b"+-- ") {
            self.leaf = None;
            // Prefix, bits, full children, empty children.
            let mut fields = Fields::new(node);
            let (_, length) = split(fields.word()?)?;
            length?;
            for _ in 0..3 {
                fields.number::<u32>()?;
            }
            fields.end()?;
        } else if let Some(leaf) = line.strip_prefix(b"|-- ") {
            self.leaf = None;
            let (address, length) = split(leaf)?;
            self.leaf = length.is_none().then_some(address);
            self.leaf?;
        } else {
            routes.push(self.route(line)?);
        }
        Some(())
    }

    fn route(&self, line: &[u8]) -> Option<Route> {
        let mut fields = Fields::new(line.strip_prefix(b"/")?);
        let prefix = fields.number().filter(|prefix| *prefix <= 32)?;
        let scope = fields.text()?;
        let kind = match fields.word()? {
            b"type" => format!("type {}", fields.number::<u32>()?),
            word => text(word),
        };
        if let Some(tos) = fields.word() {
            tos.strip_prefix(b"tos=")?;
        }
        fields.end()?;
        Some(Route { table: self.table?, destination: self.leaf?, prefix, scope, kind })
    }
}

fn table(name: &[u8]) -> Option<u32> {
    match name {
        b"Main" => Some(MAIN),
        b"Local" => Some(LOCAL),
        name => {
            let mut fields = Fields::new(name.strip_prefix(b"Id ")?);
            let number = fields.number()?;
            fields.end().map(|()| number)
        }
    }
}

/// Parses an address, and the length of the prefix if it has one.
fn split(word: &[u8]) -> Option<(Ipv4Addr, Option<u8>)> {
    let word = str::from_utf8(word).ok()?;
    let (address, length) = match word.split_once('/') {
        Some((address, length)) => (address, Some(length.parse().ok().filter(|length| *length <= 32)?)),
        None => (word, None),
    };
    Some((address.parse().ok()?, length))
}
