//! Call sites by name, from /proc/kallsyms.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
    thread::{self, JoinHandle},
};

use log::debug;

/// Functions by address. Two megabytes for a kernel of sixty thousand functions.
#[derive(Debug, Default)]
pub struct Symbols {
    /// Address of the first function: the others are kept as distances from it where they are near.
    addresses: Vec<u64>,
    /// Where the name of each starts in `names`.
    starts: Vec<u32>,
    names: String,
}

/// Farther from a function's start than this is in none that we know.
const LONGEST_FUNCTION: u64 = 1 << 20;

impl Symbols {
    /// Reads the text symbols of `from`. Without the right to see addresses (`kptr_restrict`) they
    /// are all zero: then there are none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(from: impl BufRead) -> io::Result<Self> {
        let mut found: Vec<(u64, u32, u32)> = Vec::with_capacity(1 << 16);
        let mut names = String::new();
        for line in from.lines() {
            let line = line?;
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else { continue };
            if !matches!(kind, "t" | "T" | "w" | "W") {
                continue;
            }
            let Ok(address) = u64::from_str_radix(address, 16) else { continue };
            let (Ok(start), Ok(length)) = (u32::try_from(names.len()), u32::try_from(name.len())) else { break };
            if address != 0 {
                found.push((address, start, length));
                names.push_str(name);
            }
        }
        // Of several names of one address the first counts, as in the kernel's own %pS.
        found.sort_by_key(|(address, start, _)| (*address, *start));
        found.dedup_by_key(|(address, ..)| *address);
        let mut symbols = Self { addresses: Vec::new(), starts: Vec::new(), names: String::with_capacity(names.len()) };
        symbols.addresses.reserve_exact(found.len());
        symbols.starts.reserve_exact(found.len() + 1);
        for (address, start, length) in found {
            symbols.addresses.push(address);
            symbols.starts.push(u32::try_from(symbols.names.len()).unwrap_or(u32::MAX));
            symbols.names.push_str(names.get(start as usize..(start + length) as usize).unwrap_or_default());
        }
        symbols.starts.push(u32::try_from(symbols.names.len()).unwrap_or(u32::MAX));
        Ok(symbols)
    }

    /// `function+0xoffset`; `None` if no function is known there.
    #[must_use]
    pub fn name(&self, address: u64) -> Option<String> {
        let index = self.addresses.partition_point(|start| *start <= address).checked_sub(1)?;
        let offset = address - self.addresses.get(index)?;
        let name = self.names.get(*self.starts.get(index)? as usize..*self.starts.get(index + 1)? as usize)?;
        (offset < LONGEST_FUNCTION).then(|| format!("{name}+{offset:#x}"))
    }

    /// Whether addresses may not be seen.
    #[must_use]
    pub const fn are_hidden(&self) -> bool {
        self.addresses.is_empty()
    }
}

/// Read in a thread of its own, and waited for by the first drop: it takes tens of milliseconds.
#[derive(Debug)]
pub struct KernelSymbols {
    thread: Option<JoinHandle<Symbols>>,
    symbols: Symbols,
}

impl KernelSymbols {
    /// Starts reading.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start() -> io::Result<Self> {
        let read = || match File::open(Path::new("/proc/kallsyms")).map(BufReader::new).and_then(Symbols::read) {
            Ok(symbols) => symbols,
            Err(error) => {
                debug!("no kernel symbols: {error}");
                Symbols::default()
            }
        };
        let thread = thread::Builder::new().name("symbols".to_owned()).spawn(read)?;
        Ok(Self { thread: Some(thread), symbols: Symbols::default() })
    }

    /// What was read.
    pub fn get(&mut self) -> &Symbols {
        if let Some(thread) = self.thread.take() {
            self.symbols = thread.join().unwrap_or_default();
        }
        &self.symbols
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    const TEXT: &str = "ffffffff81000000 T _text\nffffffff81000100 t tcp_v4_rcv\nffffffff81000100 t alias\n\
        ffffffff81000200 D data\nffffffff81000300 T next_one\nffffffffc0000000 t nft_do_chain\t[nf_tables]\n";

    #[test]
    fn the_function_before_an_address() {
        let symbols = Symbols::read(TEXT.as_bytes()).unwrap();
        assert_eq!(symbols.name(0xffff_ffff_8100_0100).unwrap(), "tcp_v4_rcv+0x0");
        assert_eq!(symbols.name(0xffff_ffff_8100_02ff).unwrap(), "tcp_v4_rcv+0x1ff");
        assert_eq!(symbols.name(0xffff_ffff_c000_0010).unwrap(), "nft_do_chain+0x10");
        assert_eq!(symbols.name(0x1000), None);
        assert_eq!(symbols.name(0xffff_ffff_f000_0000), None, "far behind the last one");
        assert!(!symbols.are_hidden());
    }

    #[test]
    fn hidden_addresses_are_no_symbols() {
        let symbols = Symbols::read("0000000000000000 T _text\n0000000000000000 t tcp_v4_rcv\n".as_bytes()).unwrap();
        assert!(symbols.are_hidden());
        assert_eq!(symbols.name(0xffff_ffff_8100_0100), None);
    }
}
