//! One program out of the embedded object.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use object::{Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget};
use tracer_common::settings::Offsets;

use super::call;
use crate::kernel::object::as_compiled;

/// Bytes of an instruction; `ld_imm64` is two of them.
const INSTRUCTION: usize = 8;
/// `BPF_PSEUDO_MAP_VALUE`: the upper half of the registers' byte says that the first immediate is a
/// map and the second one an offset in its value.
const PSEUDO_MAP_VALUE: u8 = 2;
/// `BPF_LD | BPF_IMM | BPF_DW`
const LD_IMM64: u8 = 0x18;
const LOG: usize = 64 * 1024;

/// The read-only data, frozen, so that the verifier knows every value.
pub(super) struct Constants {
    map: OwnedFd,
    section: object::SectionIndex,
}

const BROKEN: &str = "the embedded BPF object does not belong to this program";

impl Constants {
    /// With `offsets` in the place of `OFFSETS`.
    pub(super) fn new(offsets: &Offsets) -> Result<Self, String> {
        let file = object::File::parse(as_compiled()).map_err(|_| BROKEN)?;
        let symbol = file.symbol_by_name("OFFSETS").ok_or(BROKEN)?;
        let index = symbol.section_index().ok_or(BROKEN)?;
        let mut data = file.section_by_index(index).and_then(|section| section.data()).map_err(|_| BROKEN)?.to_vec();
        let start = usize::try_from(symbol.address()).map_err(|_| BROKEN)?;
        let place = data.get_mut(start..start + size_of::<Offsets>()).ok_or(BROKEN)?;
        // SAFETY: `Offsets` is `repr(C)` and made of `u32` only, without padding.
        let value =
            unsafe { std::slice::from_raw_parts(std::ptr::from_ref(offsets).cast::<u8>(), size_of::<Offsets>()) };
        place.copy_from_slice(value);
        let map = call::frozen_map(&data).map_err(|error| format!("a BPF map: {}", permission(&error)))?;
        Ok(Self { map, section: index })
    }
}

/// A loaded program.
pub(super) struct Program;

impl Program {
    /// Loads the program in `section`, which is an iterator over what `btf_id` says.
    pub(super) fn load(section: &str, btf_id: u32, constants: &Constants) -> Result<OwnedFd, String> {
        let file = object::File::parse(as_compiled()).map_err(|_| BROKEN)?;
        let part = file.section_by_name(section).ok_or(BROKEN)?;
        let mut code = part.data().map_err(|_| BROKEN)?.to_vec();
        for (offset, relocation) in part.relocations() {
            let RelocationTarget::Symbol(symbol) = relocation.target() else { return Err(BROKEN.to_owned()) };
            let symbol = file.symbol_by_index(symbol).map_err(|_| BROKEN)?;
            let at = usize::try_from(offset).map_err(|_| BROKEN)?;
            let pair = code.get_mut(at..at + 2 * INSTRUCTION).ok_or(BROKEN)?;
            if symbol.section_index() != Some(constants.section) || pair[0] != LD_IMM64 {
                return Err(BROKEN.to_owned());
            }
            // The place in the section: the symbol's, and what the immediate says beyond it.
            let beyond = u32::from_le_bytes([pair[4], pair[5], pair[6], pair[7]]);
            let place = u32::try_from(symbol.address()).map_err(|_| BROKEN)?.wrapping_add(beyond);
            pair[1] = pair[1] & 0x0f | PSEUDO_MAP_VALUE << 4;
            pair[4..8].copy_from_slice(&constants.map.as_raw_fd().to_le_bytes());
            pair[12..16].copy_from_slice(&place.to_le_bytes());
        }
        let license = file.section_by_name("license").and_then(|license| license.data().ok()).ok_or(BROKEN)?;
        let load = |log: &mut [u8]| call::prog_load(&code, license, btf_id, log);
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

fn permission(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM) => "not permitted (needs CAP_BPF and CAP_PERFMON)".to_owned(),
        Some(libc::ENOSYS) => "this kernel has no bpf()".to_owned(),
        _ => error.to_string(),
    }
}
