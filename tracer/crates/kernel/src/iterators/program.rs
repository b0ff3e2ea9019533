//! One program from the embedded object.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use object::{Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionIndex, SymbolKind};
use tracer_common::iterator::{Connections, RDONLY_CAST};
use tracer_common::settings::Offsets;

use super::call;
use super::description;
use crate::object::as_compiled;

/// Bytes of an instruction; `ld_imm64` has two.
const INSTRUCTION: usize = 8;
/// `BPF_PSEUDO_MAP_VALUE` in the upper half of the registers' byte: the first immediate is a map and the second one an
/// offset in its value.
const PSEUDO_MAP_VALUE: u8 = 2;
/// `BPF_PSEUDO_FUNC`: the first immediate is the distance to a function, in instructions.
const PSEUDO_FUNC: u8 = 4;
/// The section of functions that are no programs.
const FUNCTIONS: &str = ".text";
/// `BPF_PSEUDO_KFUNC_CALL`: the immediate is the number of a kernel function's type.
const PSEUDO_KFUNC_CALL: u8 = 2;
/// `BPF_LD | BPF_IMM | BPF_DW`
const LD_IMM64: u8 = 0x18;
/// `BPF_JMP | BPF_CALL`
const CALL: u8 = 0x85;
const LOG: usize = 64 * 1024;

/// The read-only data, frozen, so that the verifier knows every value.
#[derive(Debug)]
pub(super) struct Constants {
    map: OwnedFd,
    section: SectionIndex,
    plain: Option<Plain>,
}

/// The types that plain loads of any address need, from 6.2 on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain {
    /// The type of a structure that begins with a number of eight bytes.
    pub(super) window: u32,
    /// The type of `bpf_rdonly_cast`.
    pub(super) rdonly_cast: u32,
}

const BROKEN: &str = "the embedded BPF object does not belong to this program";

impl Constants {
    /// Makes the data with all these in their places.
    pub(super) fn new(
        offsets: &Offsets,
        plain: Option<Plain>,
        connections: Option<&Connections>,
    ) -> Result<Self, String> {
        let file = object::File::parse(as_compiled()).map_err(|_| BROKEN)?;
        let section = file.symbol_by_name("OFFSETS").and_then(|symbol| symbol.section_index()).ok_or(BROKEN)?;
        let mut data = file.section_by_index(section).and_then(|section| section.data()).map_err(|_| BROKEN)?.to_vec();
        let mut put = |name, value: &[u8]| put(&mut data, &file, section, name, value).ok_or(BROKEN);
        // SAFETY: `Offsets` is `repr(C)` and made of `u32` only, without padding.
        let value =
            unsafe { std::slice::from_raw_parts(std::ptr::from_ref(offsets).cast::<u8>(), size_of::<Offsets>()) };
        put("OFFSETS", value)?;
        if let Some(plain) = plain {
            put("WINDOW", &plain.window.to_ne_bytes())?;
        }
        if let Some(connections) = connections {
            // SAFETY: the same holds for `Connections`.
            let value = unsafe {
                std::slice::from_raw_parts(std::ptr::from_ref(connections).cast::<u8>(), size_of::<Connections>())
            };
            put("CONNECTIONS", value)?;
        }
        let map = call::frozen_map(&data).map_err(|error| format!("a BPF map: {}", permission(&error)))?;
        Ok(Self { map, section, plain })
    }
}

/// Writes `value` to the place of `name` in `data`, the contents of `section`.
fn put(data: &mut [u8], file: &object::File<'_>, section: SectionIndex, name: &str, value: &[u8]) -> Option<()> {
    let symbol = file.symbol_by_name(name).filter(|symbol| symbol.section_index() == Some(section))?;
    let start = usize::try_from(symbol.address()).ok()?;
    data.get_mut(start..start + value.len())?.copy_from_slice(value);
    Some(())
}

/// A loaded program.
pub(super) struct Program;

impl Program {
    /// Loads the program in `section`, an iterator over the type `btf_id`.
    pub(super) fn load(section: &str, btf_id: u32, constants: &Constants) -> Result<OwnedFd, String> {
        let file = object::File::parse(as_compiled()).map_err(|_| BROKEN)?;
        let code = Code::of(&file, section, constants).ok_or(BROKEN)?;
        let license = file.section_by_name("license").and_then(|license| license.data().ok()).ok_or(BROKEN)?;
        // The verifier needs functions declared only if there is more than the program.
        let described = description::of(&code.callbacks);
        let description = match &described {
            Some((types, functions)) => {
                let types = call::btf_load(types).map_err(|error| format!("{section}: {}", permission(&error)))?;
                Some((types, functions.as_slice()))
            }
            None => None,
        };
        let description = description.as_ref().map(|(types, functions)| (types.as_fd(), *functions));
        let load = |log: &mut [u8]| call::prog_load(&code.bytes, license, btf_id, description, log);
        load(&mut []).map_err(|error| {
            if error.raw_os_error() != Some(libc::EPERM) {
                let mut log = vec![0; LOG];
                if load(&mut log).is_err() {
                    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
                    log::debug!("{section}: {}", String::from_utf8_lossy(log.get(..end).unwrap_or_default()));
                }
            }
            format!("{section}: {}", permission(&error))
        })
    }
}

/// The instructions of a program, followed by the functions that it passes to helpers.
struct Code {
    bytes: Vec<u8>,
    /// The begins of these functions, in instructions.
    callbacks: Vec<u32>,
}

impl Code {
    /// `None` if the object has another form.
    fn of(file: &object::File<'_>, section: &str, constants: &Constants) -> Option<Self> {
        let section = file.section_by_name(section)?;
        let mut code = Self { bytes: section.data().ok()?.to_vec(), callbacks: Vec::new() };
        for (at, function) in code.link(0, 0, &section, file, constants)? {
            let start = u32::try_from(code.bytes.len() / INSTRUCTION).ok()?;
            code.append(function, file, constants)?;
            let pair = code.bytes.get_mut(at..at + 2 * INSTRUCTION)?;
            pair[1] = pair[1] & 0x0f | PSEUDO_FUNC << 4;
            let distance = start.checked_sub(u32::try_from(at / INSTRUCTION).ok()? + 1)?;
            pair[4..8].copy_from_slice(&distance.to_le_bytes());
            code.callbacks.push(start);
        }
        code.cast(constants)?;
        Some(code)
    }

    /// Writes the number of `bpf_rdonly_cast` into its calls; `None` if this kernel has none.
    fn cast(&mut self, constants: &Constants) -> Option<()> {
        let mut is_second_half = false;
        for instruction in self.bytes.as_chunks_mut::<INSTRUCTION>().0 {
            let is_call = !is_second_half && instruction[0] == CALL && instruction[4..] == RDONLY_CAST.to_le_bytes();
            is_second_half = instruction[0] == LD_IMM64 && !is_second_half;
            if is_call {
                instruction[1] = instruction[1] & 0x0f | PSEUDO_KFUNC_CALL << 4;
                instruction[4..].copy_from_slice(&constants.plain?.rdonly_cast.to_le_bytes());
            }
        }
        Some(())
    }

    /// Appends the function at `address` from the section of functions. It has no functions of its own.
    fn append(&mut self, address: u64, file: &object::File<'_>, constants: &Constants) -> Option<()> {
        let section = file.section_by_name(FUNCTIONS)?;
        let is_it = |symbol: &object::Symbol<'_, '_>| {
            symbol.kind() == SymbolKind::Text
                && symbol.section_index() == Some(section.index())
                && symbol.address() == address
        };
        let function = file.symbols().find(is_it)?;
        let (start, before) = (usize::try_from(address).ok()?, self.bytes.len());
        let bytes = section.data().ok()?.get(start..start + usize::try_from(function.size()).ok()?)?;
        self.bytes.extend_from_slice(bytes);
        self.link(start, before, &section, file, constants)?.is_empty().then_some(())
    }

    /// Links the constants' map into the code that came from `section`, from `start` on, and is at `before`. Returns
    /// the places that need the address of a function, with that address.
    fn link(
        &mut self,
        start: usize,
        before: usize,
        section: &object::Section<'_, '_>,
        file: &object::File<'_>,
        constants: &Constants,
    ) -> Option<Vec<(usize, u64)>> {
        let mut functions = Vec::new();
        let end = start + (self.bytes.len() - before);
        for (offset, relocation) in section.relocations() {
            let offset = usize::try_from(offset).ok()?;
            if !(start..end).contains(&offset) {
                continue;
            }
            let RelocationTarget::Symbol(symbol) = relocation.target() else { return None };
            let symbol = file.symbol_by_index(symbol).ok()?;
            let at = before + (offset - start);
            let pair = self.bytes.get_mut(at..at + 2 * INSTRUCTION)?;
            if pair[0] != LD_IMM64 {
                return None;
            }
            // The place in the section: the symbol's address plus the immediate.
            let beyond = u32::from_le_bytes([pair[4], pair[5], pair[6], pair[7]]);
            let place = u32::try_from(symbol.address()).ok()?.wrapping_add(beyond);
            if symbol.section_index() == Some(constants.section) {
                pair[1] = pair[1] & 0x0f | PSEUDO_MAP_VALUE << 4;
                pair[4..8].copy_from_slice(&constants.map.as_raw_fd().to_le_bytes());
                pair[12..16].copy_from_slice(&place.to_le_bytes());
            } else if symbol.section_index() == file.section_by_name(FUNCTIONS).map(|section| section.index()) {
                functions.push((at, place.into()));
            } else {
                return None;
            }
        }
        Some(functions)
    }
}

fn permission(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM) => "not permitted (needs CAP_BPF and CAP_PERFMON)".to_owned(),
        Some(libc::ENOSYS) => "this kernel has no bpf()".to_owned(),
        _ => error.to_string(),
    }
}
