//! `cargo xtask build-ebpf`: the BPF objects in the repository.

use crate::toolchain::{Kind, Toolchain};
use crate::tree::Tree;
use crate::{btf_ext, command, rustc, stamp};
use anyhow::{Context as _, Result, bail};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, thread};

/// Rust's names of the processor architectures with an object: the context of a kprobe is the processor's registers.
pub const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];

const TARGET: &str = "bpfel-unknown-none";

#[derive(clap::Args)]
pub struct Args {
    /// Rebuild from scratch and compare byte for byte with the objects in tracer/bpf; change nothing
    #[arg(long)]
    check: bool,
    /// With --check: do not insist on the toolchain that built the objects
    #[arg(long, requires = "check")]
    allow_other_toolchain: bool,
    /// Build with the kernel-side debug log, into the target folder instead of tracer/bpf
    #[arg(long, conflicts_with = "check")]
    log: bool,
    /// The toolchain [default: the one of the objects in tracer/bpf if it is here, else nightly, else Debian's]
    #[arg(long, value_enum)]
    toolchain: Option<Kind>,
}

pub fn main(args: &Args) -> Result<()> {
    let tree = Tree::find()?;
    if args.check {
        return check(&tree, args.toolchain, args.allow_other_toolchain);
    }
    let toolchain = choose(&tree, args.toolchain)?;
    if args.log {
        let folder = tree.target.join("bpf/log");
        for (_, object) in build_each(&tree, &toolchain, Some("log"), &tree.target.join("bpf"), &folder)? {
            println!("{}", object.display());
        }
        println!("embed one of them with: TRACER_BPF_OBJECT=PATH cargo build --release -p tracer");
        return Ok(());
    }
    let folder = tree.root.join(stamp::OBJECT_DIR);
    let mut text = String::from(
        "# What the BPF objects here were made from and with. Written by `cargo xtask build-ebpf`;\n\
         # tracer/crates/kernel/build.rs refuses to build when it does not fit the sources.\n",
    );
    writeln!(text, "sources {}", stamp::hash_sources(&tree.root)?)?;
    writeln!(text, "toolchain {}\nrustc {}", toolchain.kind, toolchain.rustc)?;
    writeln!(text, "llvm {}\nlinker {}", toolchain.llvm, toolchain.linker_version)?;
    for (name, object) in build_each(&tree, &toolchain, None, &tree.target.join("bpf"), &folder)? {
        let bytes = fs::read(&object)?;
        writeln!(text, "{name} {}", stamp::sha256(&bytes))?;
        println!("{}: {} bytes", object.display(), bytes.len());
    }
    let path = folder.join(stamp::STAMP);
    fs::write(&path, text).with_context(|| path.display().to_string())
}

/// The requested toolchain; else the one that built the objects in the repository, so that a rebuild changes no byte
/// without a change of its source; else a complete nightly; else Debian's.
///
/// # Errors
/// When none is complete; the message names the missing pieces of each.
pub fn choose(tree: &Tree, asked: Option<Kind>) -> Result<Toolchain> {
    let order = match (asked, recorded(tree)) {
        (Some(kind), _) => vec![kind],
        (None, Some(Kind::Debian)) => vec![Kind::Debian, Kind::Nightly],
        (None, _) => vec![Kind::Nightly, Kind::Debian],
    };
    let mut lacks = Vec::new();
    for kind in order {
        match Toolchain::find(kind, tree) {
            Ok(toolchain) => return Ok(toolchain),
            Err(why) => lacks.push(format!("{kind}: {why}")),
        }
    }
    bail!("no toolchain for BPF is complete ({}); cargo xtask setup --for build installs one", lacks.join("; "))
}

/// The toolchain that built the objects in the repository, if there are any.
#[must_use]
pub fn recorded(tree: &Tree) -> Option<Kind> {
    read_stamp(tree).ok().and_then(|text| recorded_kind(&text))
}

fn read_stamp(tree: &Tree) -> Result<String> {
    let path = tree.root.join(stamp::OBJECT_DIR).join(stamp::STAMP);
    fs::read_to_string(&path).with_context(|| format!("{}; {} makes it", path.display(), stamp::MEND))
}

fn recorded_kind(text: &str) -> Option<Kind> {
    [Kind::Debian, Kind::Nightly].into_iter().find(|kind| stamp::value(text, "toolchain") == Some(&kind.to_string()))
}

/// Builds the objects into `folder`, in parallel: the linker uses one processor and takes most of the time. Returns
/// their names and paths.
fn build_each(
    tree: &Tree,
    toolchain: &Toolchain,
    feature: Option<&str>,
    target: &Path,
    folder: &Path,
) -> Result<Vec<(String, PathBuf)>> {
    let one = |arch| {
        let name = stamp::object_name(arch);
        let object = folder.join(&name);
        // A folder of its own: cargo runs one build at a time in a folder.
        build(tree, toolchain, arch, feature, &target.join(arch), &object).map(|()| (name, object))
    };
    thread::scope(|scope| {
        let started: Vec<_> = ARCHITECTURES.into_iter().map(|arch| scope.spawn(move || one(arch))).collect();
        let panicked = |_| anyhow::anyhow!("a thread has panicked");
        started.into_iter().map(|one| one.join().map_err(panicked)?).collect()
    })
}

/// Builds one object: compiled, linked and stripped of debug information, with its BTF kept.
fn build(
    tree: &Tree,
    toolchain: &Toolchain,
    arch: &str,
    feature: Option<&str>,
    target: &Path,
    object: &Path,
) -> Result<()> {
    let manifest = tree.root.join("tracer-ebpf/Cargo.toml");
    let mut flags = vec![
        OsString::from("-Cdebuginfo=2"),
        OsString::from("-Clink-arg=--btf"),
        // The in-order expansion of memcpy, on by default, leaves memset to a function that writes byte by byte: that
        // was a tenth of the time of the larger programs.
        OsString::from("-Clink-arg=--disable-expand-memcpy-in-order"),
        OsString::from(format!("--cfg=bpf_target_arch=\"{arch}\"")),
    ];
    flags.push(joined("-Clinker=", &toolchain.linker, ""));
    for (from, to) in remaps(tree, toolchain, &manifest, target)? {
        flags.push(joined("--remap-path-prefix=", &from, &format!("={to}")));
    }
    let mut cargo = toolchain.cargo();
    cargo
        .args(["build", "--quiet", "--release", "--locked", "--target", TARGET, "--manifest-path"])
        .arg(&manifest)
        .arg("--target-dir")
        .arg(target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join(&OsString::from("\x1f")))
        .env("CARGO_INCREMENTAL", "0")
        .env("RUSTC_WRAPPER", env::current_exe()?)
        .env(rustc::WRAPPER, "1")
        .current_dir(&tree.root);
    if toolchain.kind == Kind::Nightly {
        cargo.args(["-Z", "build-std=core"]);
    }
    if let Some(feature) = feature {
        cargo.args(["--features", feature]);
    }
    command::run(&mut cargo)?;
    let built = target.join(TARGET).join("release/tracer-ebpf");
    fs::create_dir_all(object.parent().context("an object without a folder")?)?;
    strip(toolchain, &built, object)
}

/// DWARF is most of the file, and the kernel never reads it. The lines of source code are most of the rest.
fn strip(toolchain: &Toolchain, built: &Path, object: &Path) -> Result<()> {
    let objcopy = |words: &[OsString]| {
        let mut objcopy = std::process::Command::new(&toolchain.objcopy);
        objcopy.args(words);
        command::quietly(&mut objcopy)
    };
    let functions = object.with_extension("BTF.ext");
    let section = |option: &str| joined(option, &functions, "");
    // The values of these relocations are in place already: libbpf and aya do not look at them.
    objcopy(&[
        "--strip-debug".into(),
        "--remove-section=.rel.BTF.ext".into(),
        section("--dump-section=.BTF.ext="),
        built.into(),
        object.into(),
    ])?;
    fs::write(&functions, btf_ext::functions_only(&fs::read(&functions)?)?)?;
    objcopy(&[section("--update-section=.BTF.ext="), object.into()])?;
    fs::remove_file(&functions).context("cannot remove a file of the build")
}

fn joined(before: &str, path: &Path, after: &str) -> OsString {
    let mut word = OsString::from(before);
    word.push(path);
    word.push(after);
    word
}

/// Every folder whose name could reach the object (BTF's line information holds source paths), with its replacement.
/// The last match wins in rustc, so the repository comes first.
fn remaps(tree: &Tree, toolchain: &Toolchain, manifest: &Path, target: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut list = vec![(tree.root.clone(), String::new())];
    list.push((target.to_path_buf(), "target".into()));
    let mut metadata = toolchain.cargo();
    metadata
        .args(["metadata", "--locked", "--format-version=1", "--filter-platform", TARGET, "--manifest-path"])
        .arg(manifest);
    let metadata: serde_json::Value = serde_json::from_str(&command::output(&mut metadata)?)?;
    let registries: BTreeSet<&Path> = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?
        .iter()
        .filter(|package| !package["source"].is_null())
        .filter_map(|package| Path::new(package["manifest_path"].as_str()?).parent()?.parent())
        .collect();
    list.extend(registries.into_iter().map(|folder| (folder.to_path_buf(), "registry".into())));
    list.push((toolchain.sysroot.join("lib/rustlib/src/rust"), "rust".into()));
    Ok(list)
}

/// Rebuilds from scratch and compares byte for byte.
///
/// # Errors
/// When an object is stale, cannot be reproduced, or the toolchain that built it is not here.
pub fn check(tree: &Tree, asked: Option<Kind>, allow_other: bool) -> Result<()> {
    let text = read_stamp(tree)?;
    if stamp::value(&text, "sources") != Some(&stamp::hash_sources(&tree.root)?) {
        bail!("the objects in {} are older than their sources; run: {}", stamp::OBJECT_DIR, stamp::MEND);
    }
    let recorded = recorded_kind(&text);
    let toolchain = match (asked.or(recorded), allow_other) {
        (Some(kind), false) => Toolchain::find(kind, tree).map_err(|why| {
            anyhow::anyhow!("the objects were built with {kind}, which is not complete here: {why}; run: cargo xtask setup --for build")
        })?,
        (kind, _) => choose(tree, kind.filter(|_| asked.is_some()))?,
    };
    let here = [
        ("toolchain", toolchain.kind.to_string()),
        ("rustc", toolchain.rustc.clone()),
        ("llvm", toolchain.llvm.clone()),
        ("linker", toolchain.linker_version.clone()),
    ];
    let others: Vec<String> = here
        .iter()
        .filter(|(key, value)| stamp::value(&text, key) != Some(value))
        .map(|(key, value)| format!("{key} is {value}, was {}", stamp::value(&text, key).unwrap_or("not recorded")))
        .collect();
    if !others.is_empty() {
        let others = others.join("; ");
        if !allow_other {
            bail!(
                "this machine's toolchain is not the one that built the objects ({others}): whether they can be \
                 reproduced cannot be told here. Install that one, or rebuild them with this one: {}",
                stamp::MEND
            );
        }
        eprintln!("xtask: comparing although the toolchain differs: {others}");
    }
    // From scratch: a file that cargo takes for fresh would prove nothing.
    let target = tree.target.join("bpf-check");
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    for (name, object) in build_each(tree, &toolchain, None, &target, &target)? {
        let kept = fs::read(tree.root.join(stamp::OBJECT_DIR).join(&name)).with_context(|| name.clone())?;
        let rebuilt = fs::read(&object)?;
        if kept != rebuilt {
            bail!(
                "{}/{name} is not what its sources give ({} bytes kept, {} rebuilt with {} and {}); run: {}",
                stamp::OBJECT_DIR,
                kept.len(),
                rebuilt.len(),
                toolchain.rustc,
                toolchain.linker.display(),
                stamp::MEND
            );
        }
        println!("{name}: reproduced, {} bytes, sha256 {}", rebuilt.len(), stamp::sha256(&rebuilt));
    }
    Ok(())
}
