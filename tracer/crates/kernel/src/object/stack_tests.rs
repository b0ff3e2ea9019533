//! The stack use of the programs with all functions that they call: at most 512 bytes before 6.13, which gave programs
//! a stack of their own. This machine's kernel may be newer, and would load programs that others refuse.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::HashMap;

use object::{Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionIndex, SymbolKind};

use super::OBJECT;

/// `MAX_BPF_STACK` of `include/linux/filter.h`.
const MOST: u64 = 512;
/// Before 6.8 `check_max_stack_depth` rounds each function's depth up to a multiple of this, and not to 0.
const GRAIN: u64 = 32;

const FRAME_POINTER: u8 = 10;
const LOAD: u8 = 1;
const STORES: [u8; 2] = [2, 3];
const MOVE: u8 = 0xbf;
const ADD: u8 = 0x07;
const CALL: u8 = 0x85;
const PSEUDO_CALL: u8 = 1;
const LOAD_WIDE: u8 = 0x18;

/// The place of a function.
type Place = (SectionIndex, u64);

struct Function {
    name: String,
    depth: u64,
    calls: Vec<Place>,
}

fn functions() -> HashMap<Place, Function> {
    let file = object::File::parse(OBJECT).unwrap();
    let mut functions = HashMap::new();
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0) {
        let index = symbol.section_index().unwrap();
        let section = file.section_by_index(index).unwrap();
        let targets: HashMap<u64, _> = section.relocations().map(|(at, how)| (at, how.target())).collect();
        let bytes = section.data_range(symbol.address(), symbol.size()).unwrap().unwrap();
        let mut function = Function { name: symbol.name().unwrap().to_owned(), depth: 0, calls: Vec::new() };
        // Each register's relation to the frame pointer, as far as straight-line instructions determine it.
        let mut registers: [Option<i64>; 16] = [None; 16];
        let mut skips = false;
        for (number, code) in bytes.chunks_exact(8).enumerate() {
            if std::mem::take(&mut skips) {
                continue;
            }
            let (operation, to, from) = (code[0], code[1] & 0xf, code[1] >> 4);
            let offset = i64::from(i16::from_le_bytes([code[2], code[3]]));
            let immediate = i64::from(i32::from_le_bytes([code[4], code[5], code[6], code[7]]));
            registers[usize::from(FRAME_POINTER)] = Some(0);
            let mut touches = |offset: i64| function.depth = function.depth.max(offset.min(0).unsigned_abs());
            let class = operation & 7;
            if class == LOAD {
                registers[usize::from(from)].into_iter().for_each(|base| touches(base + offset));
                registers[usize::from(to)] = None;
            } else if STORES.contains(&class) {
                registers[usize::from(to)].into_iter().for_each(|base| touches(base + offset));
            } else if operation == MOVE {
                registers[usize::from(to)] = registers[usize::from(from)];
            } else if operation == ADD {
                registers[usize::from(to)] = registers[usize::from(to)].map(|base| base + immediate);
                registers[usize::from(to)].into_iter().for_each(touches);
            } else if operation == CALL {
                let at = symbol.address() + number as u64 * 8;
                let target = (immediate + 1) * 8;
                match targets.get(&at) {
                    Some(RelocationTarget::Symbol(called)) => {
                        let called = file.symbol_by_index(*called).unwrap();
                        let base = if called.kind() == SymbolKind::Section { target } else { 0 };
                        function.calls.push((called.section_index().unwrap(), called.address() + base.unsigned_abs()));
                    }
                    _ if from == PSEUDO_CALL => {
                        function.calls.push((index, at.checked_add_signed(target).unwrap()));
                    }
                    _ => {}
                }
                registers[..6].fill(None);
            } else {
                skips = operation == LOAD_WIDE;
                registers[usize::from(to)] = None;
            }
        }
        functions.insert((index, symbol.address()), function);
    }
    functions
}

fn taken(functions: &HashMap<Place, Function>, place: Place) -> u64 {
    let function = &functions[&place];
    let deepest = function.calls.iter().map(|called| taken(functions, *called)).max();
    function.depth.max(1).next_multiple_of(GRAIN) + deepest.unwrap_or_default()
}

#[test]
fn no_program_takes_more_of_the_stack_than_old_kernels_have() {
    let functions = functions();
    let mut most: Vec<(u64, &str)> =
        functions.iter().map(|(place, function)| (taken(&functions, *place), function.name.as_str())).collect();
    most.sort_unstable();
    let (deepest, _) = *most.last().unwrap();
    assert!(deepest > MOST / 2, "{most:?}");
    let too_deep: Vec<_> = most.iter().filter(|(depth, _)| *depth > MOST).map(|(_, name)| *name).collect();
    // Those kernels refuse it, and the next link, the classic tracepoint, gives the same records.
    assert_eq!(too_deep, ["set_state__raw"], "{most:?}");
}
