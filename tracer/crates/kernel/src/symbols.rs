//! Call sites by name, from /proc/kallsyms.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use log::debug;

/// Functions by address. Three megabytes for a kernel of sixty thousand functions.
#[derive(Debug, Default)]
pub struct Symbols {
    /// Address, and the position of the name in `names`: begin and length.
    functions: Vec<(u64, u32, u32)>,
    names: Vec<u8>,
}

/// An address farther from a function's start belongs to no known function.
const LONGEST_FUNCTION: u64 = 1 << 20;

impl Symbols {
    /// Reads the text symbols of `from`. Without the right to see addresses (`kptr_restrict`) all are zero: then there
    /// are none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(mut from: impl BufRead) -> io::Result<Self> {
        let mut symbols = Self::default();
        let mut line = Vec::with_capacity(256);
        while from.read_until(b'\n', &mut line)? != 0 {
            if let Some((address, name)) = function(&line)
                && let (Ok(start), Ok(length)) = (u32::try_from(symbols.names.len()), u32::try_from(name.len()))
            {
                symbols.functions.push((address, start, length));
                symbols.names.extend_from_slice(name);
            }
            line.clear();
        }
        // Of several names of one address the first counts, as in the kernel's own %pS.
        symbols.functions.sort_unstable();
        symbols.functions.dedup_by_key(|(address, ..)| *address);
        symbols.functions.shrink_to_fit();
        symbols.names.shrink_to_fit();
        Ok(symbols)
    }

    /// `function+0xoffset`; `None` if no known function is there.
    #[must_use]
    pub fn name(&self, address: u64) -> Option<String> {
        let (function, start, length) = self.find(address)?;
        let name = self.names.get(start as usize..(start + length) as usize)?;
        Some(format!("{}+{:#x}", String::from_utf8_lossy(name), address - function))
    }

    /// The start of the function that contains `address`.
    #[must_use]
    pub fn function(&self, address: u64) -> Option<u64> {
        self.find(address).map(|(function, ..)| function)
    }

    fn find(&self, address: u64) -> Option<(u64, u32, u32)> {
        let index = self.functions.partition_point(|(start, ..)| *start <= address).checked_sub(1)?;
        self.functions.get(index).copied().filter(|(function, ..)| address - function < LONGEST_FUNCTION)
    }

    /// Whether addresses are hidden.
    #[must_use]
    pub fn are_hidden(&self) -> bool {
        self.functions.is_empty()
    }
}

/// Address and name of a function from a line `address kind name [module]`; `None` for other symbols and for hidden
/// addresses.
fn function(line: &[u8]) -> Option<(u64, &[u8])> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
    let address = u64::from_str_radix(str::from_utf8(address).ok()?, 16).ok()?;
    (matches!(kind, b"t" | b"T" | b"w" | b"W") && address != 0).then_some((address, name))
}

/// The symbols of the running kernel, to be read later: that takes tens of milliseconds and megabytes, and most hosts drop
/// nothing while they are watched. The file is opened at once: the kernel decides then whether addresses are visible
/// (`kallsyms_open`), by a capability (`CAP_SYSLOG`) that need not be kept for it.
#[derive(Debug, Default)]
pub struct KernelSymbols(Option<File>);

impl KernelSymbols {
    /// Opens the file.
    #[must_use]
    pub fn open() -> Self {
        let file = File::open(Path::new("/proc/kallsyms"));
        Self(file.inspect_err(|error| debug!("no kernel symbols: {error}")).ok())
    }

    /// Reads the symbols; none if that fails.
    #[must_use]
    pub fn read(self) -> Symbols {
        let Some(file) = self.0 else { return Symbols::default() };
        Symbols::read(BufReader::new(file)).unwrap_or_else(|error| {
            debug!("no kernel symbols: {error}");
            Symbols::default()
        })
    }
}

impl From<File> for KernelSymbols {
    fn from(file: File) -> Self {
        Self(Some(file))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use tracer_fuzz::fuzz;

    const TEXT: &str = "ffffffff81000000 T _text\nffffffff81000100 t tcp_v4_rcv\nffffffff81000100 t alias\n\
        ffffffff81000200 D data\nffffffff81000300 T next_one\nffffffffc0000000 t nft_do_chain\t[nf_tables]\n";

    #[test]
    fn the_function_before_an_address() {
        let symbols = Symbols::read(TEXT.as_bytes()).unwrap();
        assert_eq!(symbols.name(0xffff_ffff_8100_0100).unwrap(), "tcp_v4_rcv+0x0");
        assert_eq!(symbols.name(0xffff_ffff_8100_02ff).unwrap(), "tcp_v4_rcv+0x1ff");
        assert_eq!(symbols.name(0xffff_ffff_c000_0010).unwrap(), "nft_do_chain+0x10");
        assert_eq!(symbols.function(0xffff_ffff_8100_02ff), Some(0xffff_ffff_8100_0100));
        assert_eq!((symbols.name(0x1000), symbols.function(0x1000)), (None, None));
        assert_eq!(symbols.name(0xffff_ffff_f000_0000), None, "far behind the last one");
        assert!(!symbols.are_hidden());
    }

    #[test]
    fn garbage_is_no_function_that_has_another_name() {
        fuzz(&[TEXT.as_bytes().to_vec()], |input| {
            let symbols = Symbols::read(input).unwrap();
            for (address, ..) in &symbols.functions {
                let name = symbols.name(*address).unwrap();
                let name = name.strip_suffix("+0x0").unwrap();
                assert!(String::from_utf8_lossy(input).contains(name), "{input:?}");
                assert_eq!(symbols.function(*address), Some(*address), "{input:?}");
            }
        });
    }

    #[test]
    fn hidden_addresses_are_no_symbols() {
        let symbols = Symbols::read("0000000000000000 T _text\n0000000000000000 t tcp_v4_rcv\n".as_bytes()).unwrap();
        assert!(symbols.are_hidden());
        assert_eq!(symbols.name(0xffff_ffff_8100_0100), None);
    }
}
