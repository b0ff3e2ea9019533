//! The TCP sockets of every network namespace, each table read once.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::enter;
use super::net::Malformed;
use super::net::read_sockets;
use super::net::tcp::Row;
use super::netns::{self, Netns, NetnsError};
use super::root::{ProcRoot, ReadError, vanished};

/// The tables of a namespace, below its `net` directory.
const TABLES: [&str; 2] = ["tcp", "tcp6"];

/// The extent and the failures of [`tcp_tables`].
#[derive(Debug, Default)]
pub struct Report {
    /// Namespaces whose tables were read.
    pub namespaces: u32,
    /// Rows passed on.
    pub rows: u64,
    /// Malformed lines.
    pub malformed: Malformed,
    /// Namespaces that could not be read.
    pub unreadable: Vec<Unreadable>,
    /// Processes whose namespace this user may not see: sockets of that namespace may be missing.
    pub denied: u32,
    /// Failures of the search for namespaces.
    pub errors: Vec<NetnsError>,
}

/// A namespace that could not be read, or only in part.
#[derive(Debug)]
pub struct Unreadable {
    /// Its inode number.
    pub inode: u32,
    /// Why.
    pub why: NetnsError,
}

/// Passes every row of /proc/net/tcp and tcp6 of every network namespace to `sink`, with the
/// namespace's inode number.
pub fn tcp_tables(root: &ProcRoot, mut sink: impl FnMut(u32, &Row)) -> Report {
    let found = netns::find(root);
    let mut report = Report { denied: found.denied, errors: found.errors, ..Report::default() };
    for netns in &found.namespaces {
        match open(root, netns) {
            Ok(Some(tables)) => match read(tables, netns.inode, &mut report, &mut sink) {
                Ok(()) => report.namespaces += 1,
                Err(error) => report.unreadable.push(Unreadable { inode: netns.inode, why: error.into() }),
            },
            // It is gone by now.
            Ok(None) => {}
            Err(why) => report.unreadable.push(Unreadable { inode: netns.inode, why }),
        }
    }
    report
}

type Table = (File, PathBuf);

fn read(
    tables: Vec<Table>,
    inode: u32,
    report: &mut Report,
    sink: &mut impl FnMut(u32, &Row),
) -> Result<(), ReadError> {
    for (file, path) in tables {
        let (rows, malformed) = (&mut report.rows, &mut report.malformed);
        read_sockets(BufReader::with_capacity(1 << 16, file), &path, malformed, |row: Row| {
            *rows += 1;
            sink(inode, &row);
        })
        .map_err(|source| ReadError::new(path, source))?;
    }
    Ok(())
}

/// Opens the tables of `netns`; `None` if it is gone. An open table stays with its namespace.
fn open(root: &ProcRoot, netns: &Netns) -> Result<Option<Vec<Table>>, NetnsError> {
    if let Some(pid) = netns.pid {
        if let Some(tables) = open_of_process(root, pid, netns.inode)? {
            return Ok(Some(tables));
        }
        // The process ended or moved; others may be left.
        if let Some(pid) = netns::some_process(root, netns.inode)
            && let Some(tables) = open_of_process(root, pid, netns.inode)?
        {
            return Ok(Some(tables));
        }
    }
    // No process is in it: a thread enters it to open the tables.
    let net = root.path().join("thread-self/net");
    Ok(enter::inside(root, netns, || open_tables(&net))?.transpose()?)
}

/// Opens the tables that process `pid` sees; `None` if it is not in namespace `inode`.
fn open_of_process(root: &ProcRoot, pid: u32, inode: u32) -> Result<Option<Vec<Table>>, NetnsError> {
    let tables = open_tables(&root.process(pid).join("net"));
    // The directory leads to the namespace that the process was in when the tables were opened.
    if netns::by_pid(root, pid)? != Some(inode) {
        return Ok(None);
    }
    Ok(Some(tables?))
}

/// Opens the tables that exist: a kernel may have no IPv6.
fn open_tables(net: &Path) -> Result<Vec<Table>, ReadError> {
    let mut tables = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        let path = net.join(table);
        match File::open(&path) {
            Ok(file) => tables.push((file, path)),
            Err(error) if vanished(&error) => {}
            Err(error) => return Err(ReadError::new(path, error)),
        }
    }
    Ok(tables)
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;
