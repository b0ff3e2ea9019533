//! The file system of the machine: the tests, the tracer, and this machine's tools that they call.

use super::archive::Archive;
use super::foreign::Foreign;
use super::plan::Plan;
use super::unpack::Kernel;
use crate::programs::Programs;
use crate::setup::GUEST_TOOLS;
use crate::tree::Tree;
use crate::{command, nginx};
use anyhow::{Context as _, Result, bail};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The script that runs as process 1.
const INIT: &str = include_str!("init.sh");

/// Modules that tests need, loaded before the first one; Debian's kernels have nearly everything as modules.
const LOADED: [&str; 9] =
    ["veth", "tun", "fuse", "nf_tables", "nf_conntrack", "inet_diag", "tcp_diag", "udp_diag", "sch_netem"];

/// Modules that the kernel loads on demand.
const ON_DEMAND: [&str; 17] = [
    "nft_*",
    "nf_*",
    "nfnetlink*",
    "x_tables",
    "libcrc32c",
    "crc32c_*",
    "unix_diag",
    "raw_diag",
    "netlink_diag",
    "af_packet_diag",
    "mptcp_diag",
    "dummy",
    "macvlan",
    "tls",
    "cls_bpf",
    "sch_*",
    "tap",
];

/// Large unneeded folders among Python's modules.
const NO_PYTHON: [&str; 7] =
    ["site-packages", "dist-packages", "test", "idlelib", "ensurepip", "__pycache__", "config-*"];

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n\
    nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n";

/// Mount points, and folders that programs expect.
const FOLDERS: [&str; 13] = [
    "busybox",
    "dev",
    "proc",
    "sys",
    "run",
    "root",
    "mnt",
    "etc",
    "usr/sbin",
    "usr/bin",
    "var/log/nginx",
    "var/lib/nginx",
    "usr/lib64",
];

/// A tool's path in the guest: merged into /usr, as on every Debian since bookworm.
fn merged(path: &Path) -> String {
    let path = path.to_string_lossy();
    let old = ["/bin/", "/sbin/", "/lib/", "/lib64/"];
    if old.iter().any(|dir| path.starts_with(dir)) { format!("/usr{path}") } else { path.into_owned() }
}

/// Adds a program with the libraries that `ldd` lists, each once.
fn add<W: Write>(archive: &mut Archive<W>, program: &Path, done: &mut BTreeSet<String>) -> Result<()> {
    if done.insert(merged(program)) {
        archive.copy(program, &merged(program)).with_context(|| program.display().to_string())?;
    }
    add_libraries(archive, program, done)
}

fn add_libraries<W: Write>(archive: &mut Archive<W>, program: &Path, done: &mut BTreeSet<String>) -> Result<()> {
    // ldd fails on static programs.
    let libraries = Command::new("ldd").arg(program).output().context("ldd")?;
    for file in libraries_in(&String::from_utf8_lossy(&libraries.stdout)) {
        let path = merged(&file);
        if done.insert(path.clone()) {
            archive.copy(&file, &path).with_context(|| file.display().to_string())?;
        }
    }
    Ok(())
}

/// Adds Python with its own modules, wherever it is: the python3 of the PATH may be a wrapper.
fn add_python<W: Write>(archive: &mut Archive<W>, done: &mut BTreeSet<String>) -> Result<()> {
    let script = "import sys, sysconfig; print(sys.executable); print(sysconfig.get_path('stdlib'))";
    let said = command::output(Command::new("python3").args(["-c", script])).context("package python3")?;
    let mut lines = said.lines();
    let (Some(program), Some(modules)) = (lines.next(), lines.next()) else {
        bail!("python3 does not print its paths")
    };
    add(archive, Path::new(program), done)?;
    if merged(Path::new(program)) != "/usr/bin/python3" {
        archive.link("usr/bin/python3", program)?;
    }
    archive.copy_all(Path::new(modules), modules, &NO_PYTHON).context("Python's modules")
}

/// The paths in the output of `ldd`: `NAME => PATH (ADDRESS)`, and the loader, which has no name before it.
fn libraries_in(ldd: &str) -> impl Iterator<Item = PathBuf> {
    ldd.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from)
}

/// Writes the part that all kernels share.
///
/// # Errors
/// When a tool is missing or a file cannot be read or written.
pub fn write_common(to: &Path, tree: &Tree, programs: &Programs, foreign: Option<&Foreign>) -> Result<()> {
    let mut archive = Archive::new(BufWriter::new(File::create(to)?));
    // Not a mount point: the repository, and so a test's script, may be there.
    archive.folder("tmp", 0o1777)?;
    for folder in FOLDERS {
        archive.folder(folder, 0o755)?;
    }
    for old in ["bin", "sbin", "lib", "lib64"] {
        archive.link(old, &format!("usr/{old}"))?;
    }
    archive.device("dev/console", 5, 1)?;
    archive.file("init", 0o755, INIT.as_bytes())?;
    archive.file("etc/passwd", 0o644, PASSWD.as_bytes())?;
    archive.file("etc/group", 0o644, GROUP.as_bytes())?;
    archive.file("etc/nsswitch.conf", 0o644, b"passwd: files\ngroup: files\nhosts: files\n")?;
    archive.file("etc/hosts", 0o644, b"127.0.0.1 localhost\n::1 localhost\n")?;
    match foreign {
        None => add_own(&mut archive, tree, programs)?,
        Some(Foreign { root, .. }) => {
            archive.copy(&root.join("usr/bin/busybox"), "busybox/busybox")?;
            archive.copy_all(&root.join("usr"), "usr", &NO_PYTHON)?;
        }
    }
    // The shell of the guest. Busybox's own prefers its own ip, tc and so on over the PATH.
    archive.link("usr/bin/sh", "dash")?;
    archive.copy(&programs.tracer, "tracer/tracer")?;
    archive.copy(&programs.traffic, "tracer/traffic")?;
    archive.copy(&programs.tests, "tracer/tests")?;
    archive.end()?;
    Ok(())
}

/// The tools of this machine, and the libraries of the programs.
fn add_own<W: Write>(archive: &mut Archive<W>, tree: &Tree, programs: &Programs) -> Result<()> {
    let busybox = command::find("busybox").context("busybox is not here (package busybox-static)")?;
    archive.copy(&busybox, "busybox/busybox")?;
    let mut done = BTreeSet::new();
    // Its libraries, unless it is static.
    add(archive, &busybox, &mut done)?;
    for program in [&programs.tracer, &programs.traffic, &programs.tests] {
        add_libraries(archive, program, &mut done)?;
    }
    for (tool, package) in GUEST_TOOLS {
        let Some(program) = command::find(tool) else { bail!("{tool} is not here (package {package})") };
        add(archive, &program, &mut done)?;
    }
    add_python(archive, &mut done)?;
    let unpacked = nginx::folder(tree).join("nginx");
    let program = if unpacked.is_file() { Some(unpacked) } else { command::find("nginx") };
    let program = program.context("nginx is not here (cargo xtask setup --for vm)")?;
    archive.copy(&program, "usr/sbin/nginx")?;
    done.insert(merged(&program));
    add(archive, &program, &mut done)
}

/// Writes a kernel's modules.
///
/// # Errors
/// When they cannot be read, or depmod fails.
pub fn write_modules(to: &Path, kernel: &Kernel, scratch: &Path) -> Result<()> {
    let stage = scratch.join(&kernel.release);
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    fs::create_dir_all(&stage)?;
    let wanted: Vec<&str> = LOADED.into_iter().chain(ON_DEMAND).collect();
    kernel.stage_modules(&wanted, &stage)?;
    let mut archive = Archive::new(BufWriter::new(File::create(to)?));
    archive.copy_all(&stage.join("lib/modules"), "usr/lib/modules", &[])?;
    archive.end()?;
    fs::remove_dir_all(&stage)?;
    Ok(())
}

/// Assembles the file system of one machine: the common part, its kernel's modules, its tests.
///
/// # Errors
/// When a file cannot be read or written.
pub fn write(to: &Path, common: &Path, modules: &Path, plan: &Plan) -> Result<()> {
    let mut file = BufWriter::new(File::create(to)?);
    // A kernel unpacks consecutive archives if each begins at a multiple of four.
    for part in [common, modules] {
        std::io::copy(&mut File::open(part)?, &mut file)?;
    }
    let mut archive = Archive::new(file);
    archive.file("plan", 0o644, plan.lines().as_bytes())?;
    archive.file("modules", 0o644, LOADED.join("\n").as_bytes())?;
    archive.file("environment", 0o644, plan.environment().as_bytes())?;
    archive.end()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_in_what_ldd_says() {
        let said = "\tlinux-vdso.so.1 (0x00007ff1)\n\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f03)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f03)\n";
        let found: Vec<String> = libraries_in(said).map(|path| merged(&path)).collect();
        assert_eq!(found, ["/usr/lib/x86_64-linux-gnu/libz.so.1", "/usr/lib64/ld-linux-x86-64.so.2"]);
        assert_eq!(libraries_in("\tnot a dynamic executable\n").count(), 0);
    }
}
