//! The stamp beside the BPF objects: what they were made from and with.
//!
//! Shared by `tracer/build.rs`, which refuses an object older than its sources, and by
//! `cargo xtask build-ebpf`, which writes the stamp. It is compiled into both, so it depends on
//! nothing but the standard library and sha2.

use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The stamp's name, in [`OBJECT_DIR`].
pub const STAMP: &str = "STAMP";

/// Where objects and stamp are kept, from the root of the repository.
pub const OBJECT_DIR: &str = "tracer/bpf";

/// What mends a stale or missing object.
pub const MEND: &str = "cargo xtask build-ebpf";

/// What the objects are made from: files, and folders of which every file counts.
pub const SOURCES: [&str; 5] = [
    "tracer-ebpf/Cargo.toml",
    "tracer-ebpf/Cargo.lock",
    "tracer-ebpf/src",
    "tracer-common/Cargo.toml",
    "tracer-common/src",
];

/// The file name of the object for one processor architecture (Rust's name of it).
#[must_use]
pub fn object_name(arch: &str) -> String {
    format!("tracer.{arch}.o")
}

/// SHA-256 in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).as_slice())
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// One hash over all [`SOURCES`] below `root`: sorted relative paths, lengths and contents.
///
/// # Errors
/// When a source cannot be read; the message names it.
pub fn hash_sources(root: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(&root.join(source), &mut files)?;
    }
    let mut named = Vec::new();
    for file in files {
        let relative = file.strip_prefix(root).map_err(io::Error::other)?;
        named.push((relative.to_string_lossy().into_owned(), file.clone()));
    }
    named.sort();
    let mut hash = Sha256::new();
    for (name, file) in named {
        let content = fs::read(&file).map_err(|e| naming(&file, &e))?;
        hash.update(format!("{name}\n{}\n", content.len()));
        hash.update(content);
    }
    Ok(hex(hash.finalize().as_slice()))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(|e| naming(path, &e))? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}

fn naming(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The value of `key` in the stamp: a line is a key, a space and the value; `#` starts a remark.
#[must_use]
pub fn value<'a>(stamp: &'a str, key: &str) -> Option<&'a str> {
    stamp.lines().filter_map(|line| line.split_once(' ')).find_map(|(k, v)| (k == key).then_some(v))
}
