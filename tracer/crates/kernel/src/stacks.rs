//! The kernel's stacks at drops: out of their map, and by name.

use std::{fs, path::Path};

use aya::maps::{MapData, StackTraceMap};
use log::debug;
use tracer_common::drops::STACK_FRAMES;

use super::symbols::Symbols;

/// A frame outside of all known functions.
const UNKNOWN: &str = "unknown";

/// The number of frames that can be kept of a stack: the kernel refuses a map with more than the sysctl
/// `kernel.perf_event_max_stack`, which is in the folder `sysctls`, usually `/proc/sys/kernel`.
#[must_use]
pub fn frames(sysctls: &Path) -> u32 {
    let most = fs::read_to_string(sysctls.join("perf_event_max_stack")).ok().and_then(|text| text.trim().parse().ok());
    most.map_or(STACK_FRAMES, |most: u32| most.clamp(1, STACK_FRAMES))
}

/// The kernel side's stacks. Each is read once and never removed: a number means the same stack for the whole trace.
#[derive(Debug)]
pub struct Stacks {
    map: StackTraceMap<MapData>,
}

impl Stacks {
    /// Takes the map over.
    #[must_use]
    pub const fn new(map: StackTraceMap<MapData>) -> Self {
        Self { map }
    }

    /// The stack that a record names by `number` ([`tracer_common::drops::DropRecord::stack`]), from the call at
    /// `location` outwards; `None` if it is unavailable.
    #[must_use]
    pub fn names(&self, number: u16, location: u64, symbols: &Symbols) -> Option<Vec<String>> {
        let stack = self.map.get(&u32::from(number).checked_sub(1)?, 0);
        let stack = stack.inspect_err(|error| debug!("no stack {number}: {error}")).ok()?;
        let frames: Vec<u64> = stack.frames().iter().map(|frame| frame.ip).collect();
        names(&frames, location, symbols)
    }
}

/// The frames from the call at `location` outwards, by name. The innermost frames are those of our own program and of
/// the tracepoint. A stack without that call is not the packet's: while a stack is read its place in the map is empty
/// for a moment (`bpf_stackmap_copy`), and another stack may take it.
fn names(frames: &[u64], location: u64, symbols: &Symbols) -> Option<Vec<String>> {
    // If the tracepoint is not in a function for dropping, `location` is the begin of the function that contains it
    // (`net_tx_action`).
    let is_it = |frame: &u64| *frame == location || symbols.function(*frame) == Some(location);
    let begin = frames.iter().position(is_it).filter(|_| !symbols.are_hidden())?;
    let outer = frames.get(begin..)?;
    Some(outer.iter().map(|frame| symbols.name(*frame).unwrap_or_else(|| UNKNOWN.to_owned())).collect())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn symbols() -> Symbols {
        let text = "ffffffff81000100 T sk_skb_reason_drop\nffffffff81000200 T nft_do_chain\n\
                    ffffffff81000300 T net_tx_action\nffffffff81000400 T ip_output\n";
        Symbols::read(text.as_bytes()).unwrap()
    }

    const STACK: [u64; 4] =
        [0xffff_ffff_8100_0110, 0xffff_ffff_8100_0210, 0xffff_ffff_8100_0320, 0xffff_ffff_8100_0430];

    #[test]
    fn from_the_call_outwards() {
        let names = |location| names(&STACK, location, &symbols());
        assert_eq!(names(STACK[1]).unwrap(), ["nft_do_chain+0x10", "net_tx_action+0x20", "ip_output+0x30"]);
        // The begin of a function.
        assert_eq!(names(0xffff_ffff_8100_0300).unwrap(), ["net_tx_action+0x20", "ip_output+0x30"]);
        assert_eq!(names(0xffff_ffff_8100_0211), None, "the stack of another packet");
    }

    #[test]
    fn what_has_no_name_is_not_told_by_address() {
        let far = [STACK[1], 0xffff_ffff_c900_0000];
        assert_eq!(names(&far, STACK[1], &symbols()).unwrap(), ["nft_do_chain+0x10", "unknown"]);
        assert_eq!(names(&far, STACK[1], &Symbols::default()), None, "addresses are hidden");
    }

    #[test]
    fn as_many_frames_as_the_kernel_keeps() {
        let dir = std::env::temp_dir().join(format!("tracer-stacks-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        assert_eq!(frames(&dir), STACK_FRAMES);
        for (text, expected) in [("127\n", STACK_FRAMES), ("16\n", 16), ("0\n", 1)] {
            fs::write(dir.join("perf_event_max_stack"), text).unwrap();
            assert_eq!(frames(&dir), expected);
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
