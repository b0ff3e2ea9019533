//! TCP connections as the kernel's table has them, read by a program (`kernel::iterators::connections`).
//!
//! It tells neither cookies nor figures, so that sock_diag is asked where these are wanted.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::gathered::Gathered;
use super::order::Key;
use super::shared::{self, Batch};
use crate::kernel::iterators::Iterators;
use crate::kernel::iterators::connections::{Chunk, connection};
use crate::proc::net::{Malformed, sockstat};

/// TCP sockets on the host from which on it is worth while to load the program: sock_diag begins at once.
pub(super) const MANY: u64 = 6_000;
/// How often the table is read where it changes meanwhile.
const ATTEMPTS: usize = 2;

impl Batch for Chunk {
    fn new() -> Self {
        Self::new()
    }

    fn each(&self, mut record: impl FnMut(&[u8])) {
        self.records().for_each(|bytes| record(bytes));
    }
}

/// The connections of the namespace that this thread is in, `netns`, to be put in the order of `key`; `None` if that
/// cannot be told, or not for certain. `of`: about how many there are on the host.
pub(super) fn read(iterators: &Iterators, of: u64, netns: u32, key: Option<Key>) -> Option<Gathered> {
    for _ in 0..ATTEMPTS {
        let parse = |record: &[u8]| record.as_array().and_then(|record| connection(record, netns));
        match shared::read(key, parse, |each| iterators.connections(of, each)) {
            Ok((read, ())) if read.malformed == 0 => return Some(read.rows),
            Ok(_) => log::debug!("the table of connections changed while it was read"),
            Err(why) => {
                log::debug!("connections: {why}");
                return None;
            }
        }
    }
    None
}

/// TCP sockets on the host, about; `net`: the folder of a namespace, of which alone it is known how many wait in
/// TIME_WAIT.
pub(super) fn count(net: &Path) -> u64 {
    let path = net.join("sockstat");
    let read = File::open(&path)
        .and_then(|file| sockstat::read(BufReader::new(file), &path, &mut Malformed::default()))
        .unwrap_or_default();
    ["alloc", "tw"].into_iter().filter_map(|key| sockstat::find(&read, "TCP", key)).sum()
}
