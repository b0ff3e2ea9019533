//! A kernel on this machine: unpacked from its packages, and kept for the next run.

use super::arch::Arch;
use super::fetch::{Available, Suite};
use super::version::Version;
use crate::command;
use anyhow::{Context as _, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// An unpacked kernel.
#[derive(Debug)]
pub struct Kernel {
    /// Its name for `--kernel`.
    pub name: String,
    /// Its release, as in `uname -r`.
    pub release: String,
    folder: PathBuf,
}

impl Kernel {
    /// The kernel with this name for `--kernel`, fetched if it is not in `cache` yet.
    ///
    /// # Errors
    /// When it is unavailable.
    pub fn get(name: &str, arch: Arch, cache: &Path) -> Result<Self> {
        fs::create_dir_all(cache).with_context(|| cache.display().to_string())?;
        // Only one process at a time may use apt and rename below.
        let lock = File::create(cache.join("lock"))?;
        lock.lock().context("lock of the cache")?;
        let suite = Suite::of(name, arch, cache)?;
        let available = suite.newest(name)?;
        let kernel =
            Self { name: name.into(), folder: cache.join(&available.release), release: available.release.clone() };
        if !kernel.image().is_file() {
            kernel.unpack(&suite, &available, cache).with_context(|| format!("kernel {}", available.release))?;
        }
        Ok(kernel)
    }

    fn unpack(&self, suite: &Suite, available: &Available, cache: &Path) -> Result<()> {
        println!("vm: fetching {}", available.packages.join(" "));
        let half = cache.join(format!("{}.half", self.release));
        if half.exists() {
            fs::remove_dir_all(&half)?;
        }
        let (packages, root) = (half.join("packages"), half.join("root"));
        fs::create_dir_all(&packages)?;
        suite.download(&available.packages, &packages)?;
        for package in fs::read_dir(&packages)? {
            command::quietly(Command::new("dpkg-deb").arg("--extract").arg(package?.path()).arg(&root))?;
        }
        fs::remove_dir_all(&packages)?;
        let modules = modules_below(&root, &self.release);
        let modules = modules.with_context(|| format!("the packages have no folder lib/modules/{}", self.release))?;
        // Before 6.19 the image is in /boot, since then beside the modules.
        let image = [root.join(format!("boot/vmlinuz-{}", self.release)), modules.join("vmlinuz")];
        let image = image.iter().find(|path| path.is_file()).context("the packages have no vmlinuz")?;
        fs::rename(image, half.join("vmlinuz"))?;
        fs::rename(&modules, half.join("modules"))?;
        fs::remove_dir_all(&root)?;
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)?;
        }
        fs::rename(&half, &self.folder).with_context(|| self.folder.display().to_string())
    }

    /// Major and minor version, as people call it.
    #[must_use]
    pub fn series(&self) -> String {
        let (major, minor) = Version::of(&self.release).series();
        format!("{major}.{minor}")
    }

    /// Its compressed image, as a boot loader takes it.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// Stages the modules in `wanted` with their dependencies, uncompressed, below `root`/lib/modules, with modprobe's
    /// indexes.
    ///
    /// When one cannot be read, or depmod fails. A module that this kernel lacks is left out: it may be built in.
    pub fn stage_modules(&self, wanted: &[&str], root: &Path) -> Result<()> {
        let source = self.folder.join("modules");
        let target = root.join("lib/modules").join(&self.release);
        let mut files = Vec::new();
        list(&source.join("kernel"), &mut files)?;
        for file in &files {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some((stem, compression)) = name.split_once(".ko") else { continue };
            if !wanted.iter().any(|pattern| matches(pattern, stem)) {
                continue;
            }
            let below = file.strip_prefix(&source).context("a module outside of its folder")?;
            let copy = target.join(below).with_file_name(format!("{stem}.ko"));
            fs::create_dir_all(copy.parent().context("a module without a folder")?)?;
            match compression {
                "" => {
                    fs::copy(file, &copy)?;
                }
                ".xz" | ".zst" => {
                    let program = if compression == ".xz" { "xz" } else { "zstd" };
                    let mut unpack = Command::new(program);
                    unpack.args(["--decompress", "--stdout"]).arg(file).stdout(File::create(&copy)?);
                    command::quietly(&mut unpack)?;
                }
                other => bail!("{}: cannot unpack {other}", file.display()),
            }
        }
        fs::create_dir_all(&target)?;
        for list in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
            if source.join(list).is_file() {
                fs::copy(source.join(list), target.join(list))?;
            }
        }
        let depmod = command::find("depmod").context("depmod is not here (package kmod)")?;
        command::quietly(Command::new(depmod).arg("--basedir").arg(root).arg(&self.release))
    }
}

fn modules_below(root: &Path, release: &str) -> Option<PathBuf> {
    ["usr/lib/modules", "lib/modules"].map(|dir| root.join(dir).join(release)).into_iter().find(|dir| dir.is_dir())
}

/// Lists every file below a folder; none if it does not exist.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether a name matches: `nft_*` matches every name with that prefix, any other pattern itself alone.
fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_modules() {
        assert!(matches("nft_*", "nft_reject_inet"));
        assert!(matches("veth", "veth"));
        assert!(!matches("veth", "veth2"));
        assert!(!matches("nft_*", "nf_tables"));
    }
}
