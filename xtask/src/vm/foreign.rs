//! Requirements of a machine of another architecture that this system lacks: a standard library to build for it, and
//! tools that run there. Both are Debian's packages for it, unpacked in the cache; nothing is installed, and this
//! system's dpkg never sees another architecture.

use super::arch::Arch;
use super::fetch::Suite;
use crate::{command, rustc, stamp};
use anyhow::{Context as _, Result, bail};
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's rustc, which can use Debian's library for another machine: both come from one build.
const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";
/// The package with the library of rustc-web, the newest in Debian.
const LIBRARY: &str = "libstd-rust-web-dev";
/// The linker for it.
const LINKER: &str = "aarch64-linux-gnu-gcc";
/// Runs one of its programs on this machine: the tests, to list them.
const RUNNER: &str = "qemu-aarch64-static";

/// Programs that have to be installed here.
const PROGRAMS: [(&str, &str); 6] = [
    (RUSTC, "rustc-web"),
    (CARGO, "cargo-web"),
    (LINKER, "gcc-aarch64-linux-gnu"),
    ("/usr/aarch64-linux-gnu/lib/libc.a", "libc6-dev-arm64-cross"),
    (RUNNER, "qemu-user-static"),
    ("qemu-system-aarch64", "qemu-system-arm"),
];

/// Packages with the programs that init and the tests call.
const TOOLS: [&str; 13] = [
    "busybox-static",
    "conntrack",
    "curl",
    "dash",
    "iproute2",
    "kmod",
    "libc-bin",
    "libpython3-stdlib",
    "lsof",
    "nftables",
    "nginx-light",
    "python3-minimal",
    "util-linux",
];

/// Folders that no test needs.
const NOT_NEEDED: [&str; 6] =
    ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/perl", "usr/share/zoneinfo"];

/// A name for the result of these packages: another list gives another name.
fn made_of(packages: &[&str]) -> String {
    stamp::sha256(packages.join(" ").as_bytes()).chars().take(12).collect()
}

/// The files for machines of one other architecture.
#[derive(Debug)]
pub struct Foreign {
    /// rustc's `--sysroot`.
    sysroot: PathBuf,
    /// The root of a file system with the tools.
    pub root: PathBuf,
}

impl Foreign {
    /// Fetches the files that are not in `cache` yet.
    ///
    /// # Errors
    /// When a program is missing here (with its package), or a package is unavailable.
    pub fn get(arch: Arch, cache: &Path) -> Result<Self> {
        let missing: Vec<&str> = PROGRAMS
            .iter()
            .filter(|(program, _)| command::find(program).is_none() && !Path::new(program).is_file())
            .map(|(_, package)| *package)
            .collect();
        if !missing.is_empty() {
            bail!("to build and run for {} these packages are needed: {}", arch.debian(), missing.join(" "));
        }
        fs::create_dir_all(cache)?;
        let lock = File::create(cache.join("lock"))?;
        lock.lock().context("lock of the cache")?;
        let version = command::output(Command::new("dpkg-query").args(["--show", "--showformat=${Version}", LIBRARY]))?;
        let folder = cache.join(arch.debian());
        let (library, root) = (folder.join(format!("std-{version}")), folder.join(format!("root-{}", made_of(&TOOLS))));
        let suite = Suite::of_this_system(arch, cache)?;
        if !library.is_dir() {
            println!("vm: fetching {LIBRARY} {version} for {}", arch.debian());
            let half = fresh(&folder.join("std.half"))?;
            let packages = fresh(&folder.join("packages"))?;
            suite.download(&[format!("{LIBRARY}={version}")], &packages)?;
            unpack(&packages, &half)?;
            link_sysroot(&half, arch)?;
            fs::rename(&half, &library)?;
        }
        if !root.is_dir() {
            println!("vm: fetching {} for {}", TOOLS.join(" "), arch.debian());
            let half = fresh(&folder.join("root.half"))?;
            unpack(&suite.download_with_all(&TOOLS)?, &half)?;
            for folder in NOT_NEEDED.map(|folder| half.join(folder)) {
                if folder.is_dir() {
                    fs::remove_dir_all(folder)?;
                }
            }
            merge(&half)?;
            fs::rename(&half, &root)?;
        }
        Ok(Self { sysroot: library.join("sysroot"), root })
    }

    /// cargo, set up to build for it, with the C library linked in, in a folder of its own.
    #[must_use]
    pub fn cargo(&self, target: &Path) -> Command {
        let mut flags = env::var_os("RUSTFLAGS").unwrap_or_default();
        for part in
            [" --sysroot=".into(), self.sysroot.clone().into_os_string(), " -C target-feature=+crt-static".into()]
        {
            flags.push::<OsString>(part);
        }
        let mut cargo = Command::new(CARGO);
        // We may have been started by another toolchain's cargo.
        rustc::clean(&mut cargo);
        cargo
            .env("RUSTC", RUSTC)
            .env("RUSTFLAGS", flags)
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER)
            .env("CARGO_TARGET_DIR", target.join("xtask/aarch64"));
        cargo
    }

    /// Runs one of its programs here.
    #[must_use]
    pub fn run(program: &Path) -> Command {
        let mut runner = Command::new(RUNNER);
        runner.arg(program);
        runner
    }
}

/// An empty folder.
fn fresh(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    Ok(folder.to_owned())
}

fn unpack(packages: &Path, root: &Path) -> Result<()> {
    for package in fs::read_dir(packages)? {
        let package = package?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            command::quietly(Command::new("dpkg-deb").arg("--extract").arg(package).arg(root))?;
        }
    }
    Ok(())
}

/// Makes a sysroot of rustc's own libraries, for programs that run during the build, and the unpacked ones.
fn link_sysroot(unpacked: &Path, arch: Arch) -> Result<()> {
    let own = command::output(Command::new(RUSTC).args(["--print", "sysroot"]))?;
    let (own, libraries) = (Path::new(own.trim()).join("lib/rustlib"), unpacked.join("sysroot/lib/rustlib"));
    fs::create_dir_all(&libraries)?;
    symlink(own.join(Arch::X86.target()), libraries.join(Arch::X86.target()))?;
    // Below the same folder: it moves with it.
    symlink(Path::new("../../../usr/lib/rustlib").join(arch.target()), libraries.join(arch.target()))?;
    Ok(())
}

/// Merges /bin into /usr/bin: older packages have files in both.
fn merge(root: &Path) -> Result<()> {
    for folder in ["bin", "sbin", "lib"] {
        let old = root.join(folder);
        if old.is_dir() && !old.is_symlink() {
            let new = root.join("usr").join(folder);
            fs::create_dir_all(&new)?;
            let mut copy = Command::new("cp");
            command::quietly(copy.args(["--archive", "--no-target-directory"]).arg(&old).arg(&new))?;
            fs::remove_dir_all(&old)?;
        }
    }
    Ok(())
}
