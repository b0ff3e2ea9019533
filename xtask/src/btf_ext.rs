//! `.BTF.ext` of an object (`struct btf_ext_header`, kernel `tools/lib/bpf/libbpf_internal.h`), cut down to the
//! descriptions of functions.
//!
//! With them the kernel knows which functions are global, and verifies each of these once instead of on every path that
//! leads to a call (`do_check_subprogs()`, since 5.6). The lines of source code are most of the section, and serve only
//! as comments in a verifier's log.

use anyhow::{Context as _, Result, ensure};

const MAGIC: u16 = 0xeb9f;
/// magic, version, flags, hdr_len; func_info, line_info and core_relo, each with its offset after the header and
/// length.
const HEADER: usize = 32;

/// The section with the descriptions of functions alone.
///
/// # Errors
/// If it does not belong to a little-endian object.
pub fn functions_only(section: &[u8]) -> Result<Vec<u8>> {
    let word = |at: usize| {
        let bytes = section.get(at..at + 4).context(".BTF.ext ends within its header")?;
        Ok::<u32, anyhow::Error>(u32::from_le_bytes(bytes.try_into()?))
    };
    ensure!(word(0)? & 0xffff == u32::from(MAGIC), ".BTF.ext does not begin as one");
    let (header, begin, length) = (word(4)? as usize, word(8)? as usize, word(12)?);
    let functions = header.checked_add(begin).and_then(|from| section.get(from..)?.get(..length as usize));
    let functions = functions.context("the descriptions of functions are not within .BTF.ext")?;
    let mut cut = word(0)?.to_le_bytes().to_vec();
    // The other two are empty, and come last.
    for value in [HEADER as u32, 0, length, length, 0, length, 0] {
        cut.extend(value.to_le_bytes());
    }
    cut.extend(functions);
    Ok(cut)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn section(values: &[u32], rest: &[u8]) -> Vec<u8> {
        let header = [0x0001_eb9f].iter().chain(values);
        header.flat_map(|value| value.to_le_bytes()).chain(rest.iter().copied()).collect()
    }

    #[test]
    fn the_lines_are_left_out() {
        // The functions come after the lines here.
        let whole = section(&[32, 6, 4, 0, 6, 10, 0], b"lineslfunc");
        assert_eq!(functions_only(&whole).unwrap(), section(&[32, 0, 4, 4, 0, 4, 0], b"func"));
    }

    #[test]
    fn what_is_no_such_section_is_refused() {
        assert!(functions_only(b"").is_err());
        assert!(functions_only(&section(&[32, 6, 5, 0, 6, 10, 0], b"lineslfunc")).is_err());
        assert!(functions_only(&[0; 40]).is_err());
    }
}
