//! Finds the BPF object to embed and refuses one that is older than its sources.
//!
//! The objects are kept in the repository, so that building `tracer` needs nothing but stable Rust.
//! What this must prevent is an agent whose idea of the records differs from its BPF side's.

#[path = "../../build/stamp.rs"]
mod stamp;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

/// Names another object to embed, as `cargo xtask build-ebpf --log` makes them; not checked.
const OVERRIDE: &str = "TRACER_BPF_OBJECT";

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../build/stamp.rs");
    println!("cargo::rerun-if-env-changed={OVERRIDE}");
    match object() {
        Ok(path) => {
            println!("cargo::rerun-if-changed={}", path.display());
            println!("cargo::rustc-env=TRACER_OBJECT={}", path.display());
            ExitCode::SUCCESS
        }
        Err(sentence) => {
            println!("cargo::error={sentence}");
            ExitCode::FAILURE
        }
    }
}

fn object() -> Result<PathBuf, String> {
    if let Some(path) = env::var_os(OVERRIDE).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(format!("{OVERRIDE} names {}, which is no file", path.display()))
        };
    }
    let here =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set: run through cargo")?);
    let root = here.ancestors().nth(3).ok_or("the crate does not lie in tracer/crates")?;
    let arch = env::var("CARGO_CFG_TARGET_ARCH").map_err(|e| format!("CARGO_CFG_TARGET_ARCH: {e}"))?;
    if !matches!(arch.as_str(), "x86_64" | "aarch64") {
        return Err(format!("there is no BPF object for {arch}: tracer runs on x86_64 and aarch64"));
    }
    let folder = root.join(stamp::OBJECT_DIR);
    // A file that is not there makes cargo run this again, which is what is wanted.
    println!("cargo::rerun-if-changed={}", folder.join(stamp::STAMP).display());
    let name = stamp::object_name(&arch);
    let path = folder.join(&name);
    let text = fs::read_to_string(folder.join(stamp::STAMP)).map_err(|e| missing(&folder.join(stamp::STAMP), &e))?;
    let bytes = fs::read(&path).map_err(|e| missing(&path, &e))?;
    if stamp::value(&text, &name) != Some(stamp::sha256(&bytes).as_str()) {
        return Err(format!("{} is not the object that its stamp describes; run: {}", path.display(), stamp::MEND));
    }
    // Packaged alone, the crate has no sources that the object could be older than.
    if root.join("tracer-ebpf").is_dir() {
        for source in stamp::SOURCES {
            println!("cargo::rerun-if-changed={}", root.join(source).display());
        }
        let sources = stamp::hash_sources(root).map_err(|e| format!("cannot read the BPF sources: {e}"))?;
        if stamp::value(&text, "sources") != Some(sources.as_str()) {
            return Err(format!(
                "the BPF objects in {} are older than tracer-ebpf or tracer-common; run: {}",
                stamp::OBJECT_DIR,
                stamp::MEND
            ));
        }
    }
    Ok(path)
}

fn missing(path: &Path, error: &std::io::Error) -> String {
    format!("no BPF object to embed: {}: {error}; run: {}", path.display(), stamp::MEND)
}
