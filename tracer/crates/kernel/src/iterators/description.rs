//! The description that the verifier needs of a program which passes a function of its own to a helper: type
//! information which declares it as a function (`Documentation/bpf/btf.rst`).

/// `struct bpf_func_info`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct FuncInfo {
    /// In instructions.
    pub(super) insn_off: u32,
    pub(super) type_id: u32,
}

const HEADER: u32 = 24;
/// `BTF_KIND_INT`, `BTF_KIND_FUNC`, `BTF_KIND_FUNC_PROTO`
const INT: u32 = 1 << 24;
const FUNC: u32 = 12 << 24;
const FUNC_PROTO: u32 = 13 << 24;
/// `BTF_INT_SIGNED`, 32 bits.
const SIGNED_INT: u32 = 1 << 24 | 32;
/// Types 1 to 3.
const NUMBER: u32 = 1;
const PROTOTYPE: u32 = 2;
const FUNCTION: u32 = 3;
const STRINGS: &[u8] = b"\0int\0function\0";

/// The type information of a program whose other functions begin at `callbacks`, and each function's type; `None`
/// without such functions.
pub(super) fn of(callbacks: &[u32]) -> Option<(Vec<u8>, Vec<FuncInfo>)> {
    if callbacks.is_empty() {
        return None;
    }
    let types = [
        // "int", 4 bytes.
        [1, INT, 4, SIGNED_INT].as_slice(),
        // () -> int: the verifier takes the arguments from the helper's prototype.
        &[0, FUNC_PROTO, NUMBER],
        // "function", `BTF_FUNC_STATIC`.
        &[5, FUNC, PROTOTYPE],
    ]
    .concat();
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let (types_length, strings_length) = (length(types.len() * 4), length(STRINGS.len()));
    // Magic, version 1, no flags.
    let magic = u32::from(0xeb9f_u16) | 1 << 16;
    let head = [magic.to_le(), HEADER, 0, types_length, types_length, strings_length];
    let mut bytes: Vec<u8> = head.iter().chain(&types).flat_map(|word| word.to_ne_bytes()).collect();
    bytes.extend_from_slice(STRINGS);
    let functions = [0].iter().chain(callbacks).map(|start| FuncInfo { insn_off: *start, type_id: FUNCTION }).collect();
    Some((bytes, functions))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::btf::Btf;

    #[test]
    fn it_is_type_information() {
        assert_eq!(of(&[]), None);
        let (bytes, functions) = of(&[70, 90]).unwrap();
        let btf = Btf::parse(&bytes, &["function", "int"]).unwrap();
        assert_eq!((btf.function("function"), btf.parameters("function")), (Some(FUNCTION), Some(0)));
        assert_eq!(functions.iter().map(|info| info.insn_off).collect::<Vec<_>>(), [0, 70, 90]);
        assert!(functions.iter().all(|info| info.type_id == FUNCTION));
    }
}
