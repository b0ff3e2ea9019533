//! The stamp beside the BPF objects: what they were made from and with.
//!
//! Shared by `tracer/crates/kernel/build.rs`, which refuses an object older than its sources, and by
//! `cargo xtask build-ebpf`, which writes the stamp. It is compiled into both, so it depends on
//! nothing but the standard library, sha2 and proc-macro2.
//!
//! Of Rust code the tokens count: whoever mends a comment needs no BPF toolchain. An object keeps no line of its
//! source and no number of one, so it stays the same byte for byte; `build-ebpf --check` would tell if it did not.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
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

/// One hash over all [`SOURCES`] below `root`: sorted relative paths, lengths and contents. The content of Rust code is
/// its tokens.
///
/// # Errors
/// When a source cannot be read, or is no Rust; the message names it.
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
        let mut content = fs::read(&file).map_err(|e| naming(&file, &e))?;
        if file.extension().is_some_and(|extension| extension == "rs") {
            content = tokens(&content).map_err(|e| naming(&file, &e))?.into_bytes();
        }
        hash.update(format!("{name}\n{}\n", content.len()));
        hash.update(content);
    }
    Ok(hex(hash.finalize().as_slice()))
}

/// The tokens of Rust code, one a line, without those of documentation.
///
/// # Errors
/// When it is no Rust.
pub fn tokens(code: &[u8]) -> io::Result<String> {
    let code = std::str::from_utf8(code).map_err(io::Error::other)?;
    // proc-macro2's error cannot leave its thread.
    let stream = code.parse::<TokenStream>().map_err(|e| io::Error::other(e.to_string()))?;
    let mut text = String::new();
    write_tokens(stream, &mut text);
    Ok(text)
}

fn write_tokens(stream: TokenStream, text: &mut String) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        match tree {
            // A comment with three slashes is `#[doc = "…"]` here, one with `//!` is `#![doc = "…"]`.
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                let inner = trees.next_if(|next| matches!(next, TokenTree::Punct(punct) if punct.as_char() == '!'));
                if trees.next_if(is_documentation).is_none() {
                    text.push_str(if inner.is_some() { "#\n!\n" } else { "#\n" });
                }
            }
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(\n", ")\n"),
                    Delimiter::Brace => ("{\n", "}\n"),
                    Delimiter::Bracket => ("[\n", "]\n"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write_tokens(group.stream(), text);
                text.push_str(close);
            }
            // What belongs to one operator stays on one line.
            TokenTree::Punct(punct) => {
                text.push(punct.as_char());
                text.push_str(if punct.spacing() == Spacing::Alone { "\n" } else { "" });
            }
            other => {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{other}");
            }
        }
    }
}

/// Whether it is the bracket of `#[doc = "…"]`.
fn is_documentation(tree: &TokenTree) -> bool {
    let TokenTree::Group(group) = tree else { return false };
    let mut words = group.stream().into_iter();
    group.delimiter() == Delimiter::Bracket
        && matches!(words.next(), Some(TokenTree::Ident(word)) if word == "doc")
        && matches!(words.next(), Some(TokenTree::Punct(punct)) if punct.as_char() == '=')
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        tokens(one.as_bytes()).unwrap() == tokens(other.as_bytes()).unwrap()
    }

    #[test]
    fn comments_and_layout_do_not_count() {
        let commented = "//! Of a crate.\n#![no_std]\n/// Of a function. \n#[inline]\nfn f() -> u8 { /* a /* nested */ one */\n 1 // one\n}";
        assert!(same(commented, "#![no_std]\n#[inline] fn f() -> u8 { 1 }"));
        assert!(same("/** A block. */ struct A;", "#[doc = \"written out\"] struct A;"));
    }

    #[test]
    fn everything_else_counts() {
        for (one, other) in [
            ("fn f() { 1 }", "fn f() { 2 }"),
            ("const A: &str = \"// a\";", "const A: &str = \"// b\";"),
            ("#[inline] fn f() {}", "fn f() {}"),
            ("#[doc(hidden)] fn f() {}", "fn f() {}"),
            ("#![no_std]", "#[no_std]"),
            ("f(a - > b)", "f(a -> b)"),
            ("f((a), b)", "f((a, b))"),
            ("let a = b'/';", "let a = '/';"),
        ] {
            assert!(!same(one, other), "{one} and {other}");
        }
        assert!(tokens(b"fn f() {").is_err());
    }
}
