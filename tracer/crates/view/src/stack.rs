//! The kernel's stack under the line of a drop.

use tracer_stream::Stack;

use crate::escape::Escaped;
use crate::wrap::Paragraph;

/// Columns before the frames.
const INDENT: usize = 13;
/// Appends the frames, innermost first, as lines of at most `columns`; nothing if the user did not ask
/// for the stack. Returns the number of lines.
pub fn append(out: &mut Vec<u8>, stack: &Stack, columns: usize) -> usize {
    let frames = match stack {
        Stack::NotAsked => return 0,
        Stack::Missing => &["(stack not known)".into()],
        Stack::Known(frames) => &**frames,
    };
    if frames.is_empty() {
        return 0;
    }
    // A frame stands before its caller.
    let last = frames.len() - 1;
    let ends = |at| if at < last { " ←" } else { "" };
    let words: Vec<String> =
        frames.iter().enumerate().map(|(at, frame)| format!("{}{}", Escaped(frame), ends(at))).collect();
    let mut text = " ".repeat(INDENT);
    let paragraph = Paragraph { first: INDENT, rest: INDENT, columns };
    let lines = 1 + paragraph.push_words(&mut text, words.iter().map(String::as_str));
    text.push('\n');
    out.extend_from_slice(text.as_bytes());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::escape;

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
        assert_eq!(
            lines(&Stack::Known(["nft_do_chain+0x10".into()].into()), 25),
            "             nft_do_chain\n             +0x10\n"
        );
        assert_eq!(lines(&Stack::Missing, 100), "             (stack not known)\n");
        assert_eq!(lines(&Stack::NotAsked, 100), "");
    }
}
