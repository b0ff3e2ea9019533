//! The mounted network namespaces, from /proc/PID/mountinfo.
//!
//! The reader is our own because a mount point may be any bytes, and an odd mount must not hide the others.

use std::ffi::OsString;
use std::io::{self, BufRead};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::dir::bracketed;

/// Returns the network namespaces bound to a file: inode and mount point.
pub(super) fn network_namespaces(mut mountinfo: impl BufRead) -> io::Result<Vec<(u32, PathBuf)>> {
    let mut found = Vec::new();
    let mut line = Vec::new();
    while mountinfo.read_until(b'\n', &mut line)? != 0 {
        found.extend(network_namespace(line.strip_suffix(b"\n").unwrap_or(&line)));
        line.clear();
    }
    Ok(found)
}

/// Parses a line `id parent major:minor root mountpoint options [tags…] - type source options`.
fn network_namespace(line: &[u8]) -> Option<(u32, PathBuf)> {
    let mut fields = line.split(|&c| c == b' ').skip(3);
    let inode = bracketed(fields.next()?, b"net:")?;
    let point = fields.next()?;
    fields.find(|field| *field == b"-")?;
    if fields.next()? != b"nsfs" {
        return None;
    }
    Some((u32::try_from(inode).ok()?, PathBuf::from(OsString::from_vec(unescaped(point)))))
}

/// Undoes the kernel's `\ooo` (blank, tab, newline, backslash, `#`).
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        if let [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] = rest {
            bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    bytes
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;
    use tracer_fuzz::fuzz;

    const TEXT: &[u8] = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n\
        212 24 0:4 net:[4026532201] /run/netns/red rw shared:118 - nsfs nsfs rw\n\
        213 24 0:4 net:[4026532202] /run/netns/with\\040blank\\134 rw - nsfs nsfs rw\n\
        214 24 0:4 mnt:[4026532203] /run/snapd/ns/x.mnt rw - nsfs nsfs rw\n\
        215 24 0:4 net:[4026532204] /looks/like rw - tmpfs nsfs rw\n\
        216 24 0:4 net:[4294967296] /too/large rw - nsfs nsfs rw\n\
        217 24 0:4 net:[4026532205]\n\
        \n\
        218 24 0:4 net:[4294967295] /run/docker/netns/\xff rw shared:1 master:2 - nsfs nsfs rw";

    #[test]
    fn network_namespaces_and_nothing_else() {
        let found = network_namespaces(TEXT).unwrap();
        let found: Vec<_> = found.iter().map(|(inode, path)| (*inode, path.as_os_str().as_bytes())).collect();
        let expected: [(u32, &[u8]); 3] = [
            (4_026_532_201, b"/run/netns/red"),
            (4_026_532_202, b"/run/netns/with blank\\"),
            (u32::MAX, b"/run/docker/netns/\xff"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn garbage_is_no_more_namespaces_than_lines() {
        let seeds: Vec<Vec<u8>> = TEXT.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        fuzz(&seeds, |input| {
            let lines = input.split(|byte| *byte == b'\n').count();
            assert!(network_namespaces(input).unwrap().len() <= lines, "{input:?}");
        });
    }

    #[test]
    fn escapes_that_are_none_stay() {
        for text in ["\\", "\\0", "\\04", "\\400", "\\08", "a\\b"] {
            assert_eq!(unescaped(text.as_bytes()), text.as_bytes());
        }
        assert_eq!(unescaped(b"\\011\\012\\043\\377"), b"\t\n#\xff");
    }
}
