//! The embedded object, as this kernel needs it.

use std::borrow::Cow;

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use super::KernelError;

/// The compiled kernel side.
const OBJECT: &[u8] = aya::include_bytes_aligned!(env!("TRACER_OBJECT"));

/// Maps that are allocated on demand where the kernel allows it.
const ON_DEMAND: [&str; 3] = ["SOCKETS", "CONNECTING", "PIDS"];

/// Where `map_flags` is in the `struct bpf_map_def` of a legacy map: after type, key size, value
/// size and number of entries, four bytes each.
const MAP_FLAGS: usize = 16;

/// The object; with its hash maps allocated beforehand, unless `maps_on_demand`.
///
/// # Errors
/// If the object is not what this program embeds.
pub fn object(maps_on_demand: bool) -> Result<Cow<'static, [u8]>, KernelError> {
    if maps_on_demand {
        return Ok(Cow::Borrowed(OBJECT));
    }
    let mut bytes = OBJECT.to_vec();
    let file = object::File::parse(OBJECT).map_err(|_| KernelError::Object("an ELF header"))?;
    for name in ON_DEMAND {
        let at = file
            .symbol_by_name(name)
            .and_then(|symbol| {
                let section = file.section_by_index(symbol.section_index()?).ok()?;
                usize::try_from(section.file_range()?.0 + symbol.address()).ok()
            })
            .ok_or(KernelError::Object(name))?;
        let flags = bytes.get_mut(at + MAP_FLAGS..at + MAP_FLAGS + 4).ok_or(KernelError::Object(name))?;
        flags.fill(0);
    }
    Ok(Cow::Owned(bytes))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    /// No map, no level, no line of text and no program byte of the debug log.
    #[test]
    fn a_release_object_has_no_debug_log() {
        let file = object::File::parse(OBJECT).unwrap();
        for name in file.symbols().filter_map(|symbol| symbol.name().ok()) {
            assert!(!name.contains("AYA_LOG") && !name.contains("aya_log"), "{name}");
        }
        for section in file.sections() {
            let bytes = section.data().unwrap();
            for text in [&b"AYA_LOG"[..], b"aya_log", b"no room for the socket"] {
                let name = section.name().unwrap();
                assert!(!bytes.windows(text.len()).any(|window| window == text), "{name} has {text:?}");
            }
        }
    }

    #[test]
    fn only_the_flags_of_three_maps_differ() {
        let (grown, fixed) = (object(true).unwrap(), object(false).unwrap());
        let differ: Vec<u8> = grown.iter().zip(fixed.iter()).filter(|(a, b)| a != b).map(|(a, _)| *a).collect();
        assert_eq!(differ, [1; 3], "BPF_F_NO_PREALLOC");
    }
}
