//! /proc/net/snmp and /proc/net/netstat: a line of names, then a line of values, for each group
//! (net/ipv4/proc.c).

use std::io::{self, BufRead};
use std::path::Path;

use super::Malformed;
use super::fields::{Fields, text};
use super::lines;

/// A counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Group and name joined, as `nstat` writes them: `TcpExtListenOverflows`.
    pub name: String,
    /// Its value. `TcpMaxConn` is -1 if there is no limit; all others are not negative.
    pub value: i128,
}

/// Reads every counter, in the order of the file.
///
/// # Errors
/// Errors of reading.
pub fn read(table: impl BufRead, path: &Path, malformed: &mut Malformed) -> io::Result<Vec<Counter>> {
    let mut counters = Vec::new();
    // The names that wait for their values, and their line.
    let mut names: Option<(u64, Vec<u8>)> = None;
    let mut alone = Vec::new();
    lines::each(table, path, malformed, |number, line| match names.take() {
        Some((at, header)) => match pair(&header, line) {
            Some(found) => {
                counters.extend(found);
                Some(())
            }
            None if is_header(line) => {
                // The values are missing: this is the next group.
                alone.push(at);
                names = Some((number, line.to_owned()));
                Some(())
            }
            None => None,
        },
        None if is_header(line) => {
            names = Some((number, line.to_owned()));
            Some(())
        }
        None => None,
    })?;
    alone.into_iter().chain(names.map(|(at, _)| at)).for_each(|at| malformed.add(path, at));
    Ok(counters)
}

fn is_header(line: &[u8]) -> bool {
    let mut fields = Fields::new(line);
    fields.label().is_some() && fields.word().is_none_or(|word| word.first().is_some_and(u8::is_ascii_alphabetic))
}

/// Joins a line of names and a line of values.
fn pair(names: &[u8], values: &[u8]) -> Option<Vec<Counter>> {
    let (mut names, mut values) = (Fields::new(names), Fields::new(values));
    let group = names.label()?;
    if values.label()? != group {
        return None;
    }
    let group = text(group);
    let mut counters = Vec::new();
    while let Some(name) = names.word() {
        counters.push(Counter { name: format!("{group}{}", String::from_utf8_lossy(name)), value: values.signed()? });
    }
    values.end()?;
    Some(counters)
}
