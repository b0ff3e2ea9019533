//! The kernel's stack under the line of a drop.

use super::escape;
use crate::stream::Stack;

/// Columns before each frame.
const INDENT: usize = 13;

/// Appends a line for each frame, innermost first, of at most so many columns; nothing if nobody asked
/// for the stack.
pub fn append(out: &mut Vec<u8>, stack: &Stack, columns: usize) {
    let mut line = |text: &str| {
        let mut cut = String::new();
        escape::push_cut(&mut cut, text, columns.saturating_sub(INDENT));
        out.resize(out.len() + INDENT.min(columns), b' ');
        out.extend_from_slice(cut.as_bytes());
        out.push(b'\n');
    };
    match stack {
        Stack::NotAsked => {}
        Stack::Missing => line("(stack not known)"),
        Stack::Known(frames) => frames.iter().for_each(|frame| line(frame)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(stack: &Stack, columns: usize) -> String {
        let mut out = Vec::new();
        append(&mut out, stack, columns);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn a_line_for_each_frame() {
        let stack = Stack::Known(["nft_do_chain+0x10".into(), "nf_hook_slow+0x3f".into()].into());
        assert_eq!(lines(&stack, 100), "             nft_do_chain+0x10\n             nf_hook_slow+0x3f\n");
        assert_eq!(lines(&stack, 20), "             nft_do…\n             nf_hoo…\n");
        assert_eq!(lines(&Stack::Missing, 100), "             (stack not known)\n");
        assert_eq!(lines(&Stack::NotAsked, 100), "");
    }
}
