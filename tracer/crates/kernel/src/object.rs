//! The embedded object, adapted to this kernel.

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use super::KernelError;

/// The compiled kernel side.
const OBJECT: &[u8] = aya::include_bytes_aligned!(env!("TRACER_OBJECT"));

/// Maps that are allocated on demand where the kernel allows it.
const ON_DEMAND: [&str; 3] = ["SOCKETS", "CONNECTING", "PIDS"];
/// The map of kernel stacks.
const STACKS: &str = "STACKS";

/// Offsets in the `struct bpf_map_def` of a legacy map: type, key size, value size, number of entries and flags, four
/// bytes each.
const MAP_TYPE: usize = 0;
const VALUE_SIZE: usize = 8;
const MAP_FLAGS: usize = 16;

/// `BPF_MAP_TYPE_ARRAY` of `enum bpf_map_type`.
const ARRAY: u32 = 2;
/// Bytes of an address in a stack.
const FRAME: u32 = 8;

/// `sizeof(Elf64_Sym)`, `offsetof(Elf64_Sym, st_info)`, and the type in that.
const SYMBOL: usize = 24;
const INFO: usize = 4;
const TYPE: u8 = 0xf;

/// The properties of maps that cannot be set while they are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapForms {
    /// Hash maps are allocated on demand, not beforehand.
    pub on_demand: bool,
    /// Number of frames kept of a kernel stack; `None`: no stacks are wanted, and an array of one number replaces their
    /// map.
    pub frames: Option<u32>,
}

/// The object as it was compiled, for a caller that loads none of these maps.
#[must_use]
pub const fn as_compiled() -> &'static [u8] {
    OBJECT
}

/// The object with its maps in these forms and only the programs that `wants` selects: any other would cost the loader
/// time and memory, loaded or not.
///
/// # Errors
/// If the object does not belong to this program.
pub fn object(forms: MapForms, wants: impl Fn(&str) -> bool) -> Result<Vec<u8>, KernelError> {
    let mut bytes = OBJECT.to_vec();
    let file = object::File::parse(OBJECT).map_err(|_| KernelError::Object("an ELF header"))?;
    let symbols = file.section_by_name(".symtab").and_then(|section| section.file_range());
    let (symbols, _) = symbols.ok_or(KernelError::Object("a table of symbols"))?;
    for symbol in file.symbols().filter(|symbol| symbol.kind() == object::SymbolKind::Text) {
        if symbol.name().is_ok_and(|name| !wants(name)) {
            let at = usize::try_from(symbols).unwrap_or(usize::MAX).saturating_add(symbol.index().0 * SYMBOL + INFO);
            // A symbol that is no function is no program.
            *bytes.get_mut(at).ok_or(KernelError::Object("a symbol"))? &= !TYPE;
        }
    }
    let mut set = |name: &'static str, field: usize, value: u32| {
        let at = file
            .symbol_by_name(name)
            .and_then(|symbol| {
                let section = file.section_by_index(symbol.section_index()?).ok()?;
                usize::try_from(section.file_range()?.0 + symbol.address()).ok()
            })
            .ok_or(KernelError::Object(name))?;
        let place = bytes.get_mut(at + field..at + field + 4).ok_or(KernelError::Object(name))?;
        place.copy_from_slice(&value.to_le_bytes());
        Ok(())
    };
    if !forms.on_demand {
        for name in ON_DEMAND {
            set(name, MAP_FLAGS, 0)?;
        }
    }
    match forms.frames {
        Some(frames) => set(STACKS, VALUE_SIZE, frames * FRAME)?,
        None => {
            set(STACKS, MAP_TYPE, ARRAY)?;
            set(STACKS, VALUE_SIZE, FRAME)?;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod stack_tests;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    /// A release object has no map, no level, no line of text and no program byte of the debug log.
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

    const USUAL: MapForms = MapForms { on_demand: true, frames: None };

    /// The bytes of `to` that differ in `from`.
    fn changed(from: MapForms, to: MapForms) -> Vec<u8> {
        let (from, to) = (object(from, |_| true).unwrap(), object(to, |_| true).unwrap());
        from.iter().zip(to).filter(|(old, new)| *old != new).map(|(_, new)| new).collect()
    }

    #[test]
    fn a_program_that_is_not_wanted_is_not_there() {
        let functions = |bytes: &[u8]| -> Vec<String> {
            let file = object::File::parse(bytes).unwrap();
            let functions = file.symbols().filter(|symbol| symbol.kind() == object::SymbolKind::Text);
            functions.filter_map(|symbol| symbol.name().ok().map(str::to_owned)).collect()
        };
        let all = functions(&object(USUAL, |_| true).unwrap());
        let some = functions(&object(USUAL, |name| name != "exit__lane2").unwrap());
        let absent: Vec<&String> = all.iter().filter(|name| !some.contains(name)).collect();
        assert_eq!(absent, ["exit__lane2"]);
        assert_eq!(some.len(), all.len() - 1);
    }

    #[test]
    fn only_the_flags_of_three_maps_differ() {
        assert_eq!(changed(MapForms { on_demand: false, ..USUAL }, USUAL), [1; 3], "BPF_F_NO_PREALLOC");
    }

    #[test]
    fn stacks_are_a_map_of_their_own_kind_or_one_number() {
        // BPF_MAP_TYPE_STACK_TRACE, and 64 frames.
        assert_eq!(changed(USUAL, MapForms { frames: Some(64), ..USUAL }), [7, 0, 2]);
        assert_eq!(changed(MapForms { frames: Some(64), ..USUAL }, USUAL), [2, 8, 0]);
    }
}
