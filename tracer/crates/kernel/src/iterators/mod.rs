//! The BPF iterators of `tracer sockets`: the kernel's tables, as records.
//!
//! A small loader of our own loads them: aya's needs all of the kernel's type information as objects to find one number
//! in it, and makes every map of the object. That takes longer than the rest of the command.

mod call;
mod connections;
mod description;
mod holders;
mod program;
mod types;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::OnceLock;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use tracer_common::settings::Offsets;

use super::memlock;
use connections::Connections;
use holders::Holders;
use program::Constants;
use tracer_host::proc::pidns;
use tracer_host::proc::root::ProcRoot;
use tracer_host::sockets;
use tracer_host::sockets::iterators::{Chunk, Pair, TableError};
use types::Types;

/// Room for a read: the kernel's own buffer (`bpf_seq_read`: 8 pages).
const BUFFER: usize = 32 * 1024;

/// The iterators, each loaded at its first use.
#[derive(Debug, Default)]
pub struct Iterators {
    types: OnceLock<Result<Types, String>>,
    holders: OnceLock<Result<Holders, String>>,
    connections: OnceLock<Result<Connections, String>>,
    /// For any number of connections.
    all_connections: OnceLock<Result<Connections, String>>,
}

impl Iterators {
    fn loaded_holders(&self) -> Result<&Holders, String> {
        let loaded = self.holders.get_or_init(|| {
            if !pidns::is_initial(&ProcRoot::default()) {
                return Err("a pid namespace of our own: the kernel's process ids are not the ones here".to_owned());
            }
            Holders::load(self.types()?)
        });
        loaded.as_ref().map_err(Clone::clone)
    }

    fn types(&self) -> Result<&Types, String> {
        let types = self.types.get_or_init(|| {
            memlock::lift();
            Types::read()
        });
        types.as_ref().map_err(Clone::clone)
    }
}

impl sockets::iterators::Iterators for Iterators {
    fn load_holders(&self) -> Result<(), String> {
        self.loaded_holders().map(drop)
    }

    fn holders(&self) -> Result<(Vec<Pair>, &'static str), String> {
        self.loaded_holders()?.pairs()
    }

    fn connections(&self, of: Option<u64>, each: &mut dyn FnMut(&mut Chunk)) -> Result<(), TableError> {
        let loaded = if of.is_some() { &self.connections } else { &self.all_connections };
        let loaded = loaded.get_or_init(|| Connections::load(self.types()?, of)).as_ref();
        let loaded = loaded.map_err(|why| TableError::Refused(why.clone()))?;
        loaded.chunks(each).map_err(|error| match error.raw_os_error() {
            Some(libc::E2BIG) => TableError::TooSmall,
            _ => TableError::Refused(format!("iter/bpf_map_elem: {error}")),
        })
    }
}

/// Whether a 32-bit program runs. `target`: the type of `bpf_iter_task`.
///
/// # Errors
/// The kernel's refusal, in a few words.
pub fn has_32_bit_programs(target: Option<u32>, offsets: &Offsets) -> Result<bool, String> {
    let link = holders::link("iter/task_size", target, &Constants::new(offsets, None, None)?)?;
    let mut found = false;
    read(&link, |[_]| found = true).map_err(|error| format!("iter/task_size: {error}"))?;
    Ok(found)
}

/// Runs the iterator behind `link` in this thread's namespace.
fn read<const N: usize>(link: &OwnedFd, mut record: impl FnMut(&[u8; N])) -> io::Result<()> {
    let file = File::from(call::iter_create(link.as_fd())?);
    let mut bytes = Vec::with_capacity(2 * BUFFER);
    while read_on(&file, &mut bytes)? {
        let (whole, rest) = bytes.as_chunks::<N>();
        whole.iter().for_each(&mut record);
        let rest = bytes.len() - rest.len();
        bytes.drain(..rest);
    }
    if bytes.is_empty() { Ok(()) } else { Err(io::Error::other("the last record is cut")) }
}

/// Appends the iterator's next output; `false`: that was all.
fn read_on(file: &File, bytes: &mut Vec<u8>) -> io::Result<bool> {
    bytes.reserve(BUFFER);
    loop {
        match rustix::io::read(file, spare_capacity(bytes)) {
            Ok(count) => return Ok(count > 0),
            // The kernel stops after a million objects without a record, to let others run.
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
