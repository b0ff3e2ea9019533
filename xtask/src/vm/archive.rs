//! The archive that a kernel unpacks as its first file system: cpio, format "newc" (kernel source:
//! Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// An archive being written. It adds the folders above a file.
pub struct Archive<W: Write> {
    to: W,
    entries: u32,
    folders: BTreeSet<String>,
}

/// The mode bits of an entry's type.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const DEVICE: u32 = 0o020_000;

impl<W: Write> Archive<W> {
    /// Begins an archive.
    pub fn new(to: W) -> Self {
        Self { to, entries: 0, folders: BTreeSet::new() }
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), body: &[u8]) -> io::Result<()> {
        let path = path.trim_start_matches('/');
        let length = u32::try_from(body.len()).map_err(|_| io::Error::other(format!("{path} is too large")))?;
        self.entries += 1;
        // Inode, mode, uid, gid, links, mtime, size, the device that contains it, the device that it is, the name's
        // length, an unused checksum.
        let name_length = u32::try_from(path.len() + 1).map_err(io::Error::other)?;
        let fields = [self.entries, mode, 0, 0, 1, 0, length, 0, 0, device.0, device.1, name_length, 0];
        let mut head = String::from("070701");
        for field in fields {
            head.push_str(&format!("{field:08x}"));
        }
        self.to.write_all(head.as_bytes())?;
        self.to.write_all(path.as_bytes())?;
        // The name ends in a zero; name and body end at a multiple of four.
        let pad = |length: usize| &[0_u8; 4][..length.next_multiple_of(4) - length];
        self.to.write_all(&[0])?;
        self.to.write_all(pad(head.len() + path.len() + 1))?;
        self.to.write_all(body)?;
        self.to.write_all(pad(body.len()))
    }

    /// Adds a folder and those above it.
    ///
    /// # Errors
    /// When the archive cannot be written.
    pub fn folder(&mut self, path: &str, mode: u32) -> io::Result<()> {
        let path = path.trim_matches('/');
        if path.is_empty() || !self.folders.insert(path.to_owned()) {
            return Ok(());
        }
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above, 0o755)?;
        }
        self.entry(path, FOLDER | mode, (0, 0), &[])
    }

    fn above(&mut self, path: &str) -> io::Result<()> {
        path.trim_start_matches('/').rsplit_once('/').map_or(Ok(()), |(above, _)| self.folder(above, 0o755))
    }

    /// Adds a file with `body`.
    ///
    /// # Errors
    /// As for [`Archive::folder`].
    pub fn file(&mut self, path: &str, mode: u32, body: &[u8]) -> io::Result<()> {
        self.above(path)?;
        self.entry(path, FILE | mode, (0, 0), body)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// As for [`Archive::folder`].
    pub fn link(&mut self, path: &str, to: &str) -> io::Result<()> {
        self.above(path)?;
        self.entry(path, LINK | 0o777, (0, 0), to.as_bytes())
    }

    /// Adds a character device.
    ///
    /// # Errors
    /// As for [`Archive::folder`].
    pub fn device(&mut self, path: &str, major: u32, minor: u32) -> io::Result<()> {
        self.above(path)?;
        self.entry(path, DEVICE | 0o600, (major, minor), &[])
    }

    /// Copies a file of this machine, with its mode.
    ///
    /// # Errors
    /// When it cannot be read, or as for [`Archive::folder`].
    pub fn copy(&mut self, from: &Path, path: &str) -> io::Result<()> {
        let mode = from.metadata()?.permissions().mode() & 0o777;
        let body = fs::read(from)?;
        self.file(path, mode, &body)
    }

    /// Copies everything below a folder of this machine to `path`, except files and folders with the names in `but` (a
    /// `*` at the end stands for any rest). Relative links become their targets, broken ones are left out, and absolute
    /// ones stay links.
    ///
    /// # Errors
    /// As for [`Archive::copy`].
    pub fn copy_all(&mut self, from: &Path, path: &str, but: &[&str]) -> io::Result<()> {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let below = format!("{path}/{name}");
            if but.iter().any(|but| but.strip_suffix('*').map_or(name == *but, |prefix| name.starts_with(prefix))) {
                continue;
            }
            // An absolute link refers to the root of the file system that this becomes part of: here it would lead into
            // this machine's own.
            if let Some(to) = fs::read_link(entry.path()).ok().filter(|to| to.is_absolute()) {
                self.link(&below, &to.to_string_lossy())?;
            } else if entry.path().is_dir() {
                self.copy_all(&entry.path(), &below, but)?;
            } else if entry.path().is_file() {
                self.copy(&entry.path(), &below)?;
            }
        }
        Ok(())
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// As for [`Archive::folder`].
    pub fn end(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.to.flush()?;
        Ok(self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_follow_their_folders() {
        let mut archive = Archive::new(Vec::new());
        archive.file("/a/b/c", 0o644, b"12345").unwrap_or_default();
        archive.link("/a/l", "b/c").unwrap_or_default();
        let bytes = archive.end().unwrap_or_default();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let starts: Vec<usize> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert!(starts.iter().all(|at| at % 4 == 0), "{starts:?}");
        let names: Vec<&str> =
            starts.iter().map(|at| text[at + 110..].split('\0').next().unwrap_or_default()).collect();
        assert_eq!(names, ["a", "a/b", "a/b/c", "a/l", "TRAILER!!!"]);
        // The size of a/b/c is the seventh field after the magic.
        assert_eq!(&text[starts[2] + 54..starts[2] + 62], "00000005");
    }
}
