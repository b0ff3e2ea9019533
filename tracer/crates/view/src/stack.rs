//! The kernel's stack under the line of a drop.

use super::escape;
use tracer_stream::Stack;

/// Columns before the frames.
const INDENT: usize = 13;
/// Separates a frame from its caller.
const CALLED_BY: &str = " ← ";

/// Appends the frames, innermost first, as lines of at most `columns`; nothing if the user did not ask
/// for the stack. Returns the number of lines.
pub fn append(out: &mut Vec<u8>, stack: &Stack, columns: usize) -> usize {
    let frames = match stack {
        Stack::NotAsked => return 0,
        Stack::Missing => &["(stack not known)".into()],
        Stack::Known(frames) => &**frames,
    };
    let room = columns.saturating_sub(INDENT);
    let mut lines = 0;
    let mut line = String::new();
    let mut used = 0;
    for (n, frame) in frames.iter().enumerate() {
        let called_by = if n + 1 < frames.len() { CALLED_BY } else { "" };
        let width = escape::width(frame) + escape::width(called_by.trim_end());
        if used > 0 && used + width > room {
            lines += end(out, &mut line);
            used = 0;
        }
        used += escape::push_cut(&mut line, frame, room);
        line.push_str(called_by);
        used += escape::width(called_by);
    }
    if !line.is_empty() {
        lines += end(out, &mut line);
    }
    lines
}

/// Appends a line, and returns 1.
fn end(out: &mut Vec<u8>, line: &mut String) -> usize {
    out.resize(out.len() + INDENT, b' ');
    out.extend_from_slice(line.trim_end().as_bytes());
    out.push(b'\n');
    line.clear();
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(stack: &Stack, columns: usize) -> String {
        let mut out = Vec::new();
        let count = append(&mut out, stack, columns);
        let text = String::from_utf8_lossy(&out).into_owned();
        assert_eq!(count, text.lines().count());
        assert!(text.lines().all(|line| escape::width(line) <= columns), "{text}");
        text
    }

    #[test]
    fn frames_are_wrapped() {
        let frames = ["nft_do_chain+0x10", "nf_hook_slow+0x3f", "ip_output+0x5f"].map(Into::into);
        let stack = Stack::Known(frames.into());
        let expected = "             nft_do_chain+0x10 ← nf_hook_slow+0x3f ← ip_output+0x5f\n";
        assert_eq!(lines(&stack, 100), expected);
        let expected = "             nft_do_chain+0x10 ← nf_hook_slow+0x3f ←\n             ip_output+0x5f\n";
        assert_eq!(lines(&stack, 52), expected);
        assert_eq!(lines(&Stack::Known(["nft_do_chain+0x10".into()].into()), 20), "             nft_do…\n");
        assert_eq!(lines(&Stack::Missing, 100), "             (stack not known)\n");
        assert_eq!(lines(&Stack::NotAsked, 100), "");
    }
}
