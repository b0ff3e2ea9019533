//! The kernel's table of TCP connections, read without a lock. Listening sockets are in another table.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use super::program::Program;
use super::types::Types;
use super::{call, read_on};
use tracer_host::sockets::iterators::Chunk;

/// The approximate number of connections in a part of the table. A few of them are fetched together; the kernel's
/// buffer has room for four hundred, so there may be many more than expected.
const IN_PART: u64 = 12;
/// The most parts: each one has a cost, too.
const MOST_PARTS: u32 = 8192;

/// The loaded iterator.
#[derive(Debug)]
pub(super) struct Connections {
    link: OwnedFd,
}

impl Connections {
    /// Loads the iterator for about `expected` connections; `None`: as many as there may be.
    ///
    /// # Errors
    /// The reason why this kernel lacks it or refuses it, in a few words.
    pub(super) fn load(types: &Types, expected: Option<u64>) -> Result<Self, String> {
        if !cfg!(target_arch = "x86_64") {
            // On other processors the last read may have been executed first.
            return Err("not on this processor".to_owned());
        }
        let parts = parts(expected);
        let known = types.connections(parts).ok_or("this kernel's table of connections is not as it is known")?;
        let target = types.btf.function("bpf_iter_bpf_map_elem").ok_or("this kernel has no iterator over maps")?;
        let program = Program::load("iter/bpf_map_elem", target, &types.constants(Some(&known))?)?;
        let link = call::map_of(parts).and_then(|map| call::link_create(program.as_fd(), Some(map.as_fd())));
        Ok(Self { link: link.map_err(|error| format!("iter/bpf_map_elem: {error}"))? })
    }

    /// Passes the records of every connection in the table of this thread's namespace to `each`, a chunk at a time:
    /// `each` may take the chunk and leave another one to be filled.
    ///
    /// # Errors
    /// Those of reading: E2BIG if there are far more connections than expected.
    pub(super) fn chunks(&self, each: &mut dyn FnMut(&mut Chunk)) -> io::Result<()> {
        let file = File::from(call::iter_create(self.link.as_fd())?);
        let mut chunk = Chunk::new();
        let mut rest = Vec::new();
        while read_on(&file, &mut chunk.bytes)? {
            let cut = chunk.bytes.len() - chunk.bytes.len() % Chunk::RECORD;
            rest.extend_from_slice(chunk.bytes.get(cut..).unwrap_or_default());
            each(&mut chunk);
            chunk.bytes.clear();
            chunk.bytes.append(&mut rest);
        }
        if chunk.bytes.is_empty() { Ok(()) } else { Err(io::Error::other("the last record is cut")) }
    }
}

/// The number of parts in which the table is read, a power of two.
fn parts(expected: Option<u64>) -> u32 {
    let parts = expected.and_then(|expected| u32::try_from(expected / IN_PART).ok());
    parts.unwrap_or(MOST_PARTS).clamp(1, MOST_PARTS).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_a_power_of_two() {
        let counts = [0, 11, 12, 6_000, 20_000, 1 << 40];
        assert_eq!(counts.map(|count| parts(Some(count))), [1, 1, 1, 512, 2048, 8192]);
        assert_eq!(parts(None), 8192);
    }
}
