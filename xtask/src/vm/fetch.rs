//! Debian's kernels: finds and fetches them.
//!
//! apt gets a state of its own (lists, caches, sources), so that the system's stays untouched and root is not needed;
//! mirror, proxy and keys are the system's.

use super::arch::Arch;
use super::version::Version;
use crate::command;
use anyhow::{Context as _, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use std::{env, fs};

/// The suites with kernels of their own: the series for `--kernel`, and its suite.
const SERIES: [(&str, &str); 3] = [("5.10", "bullseye"), ("6.1", "bookworm"), ("6.12", "trixie")];
/// The suite of all newer kernels.
const BACKPORTS: &str = "trixie-backports";
/// The name of the newest kernel of [`BACKPORTS`].
pub const NEWEST: &str = "newest";
/// Debian's keys, which its package debian-archive-keyring has.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// How old apt's lists may be before they are fetched again.
const LISTS_AGE: Duration = Duration::from_secs(24 * 3600);
/// The small kernels, `linux-image-6.1.0-50-cloud-amd64`: they have only the drivers of virtual machines.
const PREFIX: &str = "linux-image-";

/// The folder where kernels are kept between runs.
///
/// # Errors
/// When there is neither `XDG_CACHE_HOME` nor `HOME`.
pub fn cache() -> Result<PathBuf> {
    let dir = env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let dir = dir.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    Ok(dir.context("neither XDG_CACHE_HOME nor HOME is set")?.join("tracer/kernels"))
}

/// A kernel in a suite.
#[derive(Debug)]
pub struct Available {
    /// The release that `uname -r` will print.
    pub release: String,
    /// Its packages, the image first.
    pub packages: Vec<String>,
}

/// One suite, in apt's view.
pub struct Suite {
    name: String,
    arch: Arch,
    state: PathBuf,
    options: Vec<OsString>,
}

/// The suite to search for the kernel of `--kernel`.
fn suite_of(kernel: &str) -> &'static str {
    let same = |series: &str| kernel == series || kernel.strip_prefix(series).is_some_and(|rest| rest.starts_with('.'));
    SERIES.iter().find(|(series, _)| same(series)).map_or(BACKPORTS, |(_, suite)| suite)
}

impl Suite {
    /// The suite that has `kernel`, with lists that are at most a day old.
    ///
    /// # Errors
    /// When the system's apt knows no Debian mirror, or the lists cannot be fetched and there are none yet.
    pub fn of(kernel: &str, arch: Arch, cache: &Path) -> Result<Self> {
        let name = suite_of(kernel);
        Self::open(name, arch, &[(mirror("/debian")?, name)], cache)
    }

    /// This system's own suite, with its security updates, for another kind of machine.
    ///
    /// # Errors
    /// As for [`Suite::of`].
    pub fn of_this_system(arch: Arch, cache: &Path) -> Result<Self> {
        let about = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
        let name = about.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        let name = name.context("/etc/os-release names no suite")?.trim_matches('"');
        let security = format!("{name}-security");
        let sources = [(mirror("/debian")?, name), (mirror("/debian-security")?, security.as_str())];
        // Not the suite of a kernel, which lacks the updates.
        Self::open(&format!("{name}+security"), arch, &sources, cache)
    }

    fn open(name: &str, arch: Arch, sources: &[(String, &str)], cache: &Path) -> Result<Self> {
        if !Path::new(KEYS).is_file() {
            bail!("Debian's keys are not here: {KEYS} (package debian-archive-keyring)");
        }
        let own = if arch == Arch::default() { name.to_owned() } else { format!("{name}-{}", arch.debian()) };
        let state = cache.join("apt").join(own);
        for dir in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(state.join(dir)).with_context(|| state.display().to_string())?;
        }
        let source = |(mirror, suite): &(String, &str)| {
            format!("deb [arch={} signed-by={KEYS}] {mirror} {suite} main\n", arch.debian())
        };
        fs::write(state.join("sources.list"), sources.iter().map(source).collect::<String>())?;
        fs::write(state.join("status"), "")?;
        let mut options = Vec::new();
        for (key, value) in [
            ("Dir::Etc::sourcelist", state.join("sources.list")),
            ("Dir::Etc::sourceparts", "/dev/null".into()),
            ("Dir::Etc::preferencesparts", "/dev/null".into()),
            ("Dir::State::lists", state.join("lists")),
            ("Dir::State::status", state.join("status")),
            ("Dir::Cache", state.join("cache")),
            // apt's own user may not write below a home folder; apt would warn and continue as us.
            ("APT::Sandbox::User", "root".into()),
            ("APT::Architecture", arch.debian().into()),
            ("APT::Architectures", arch.debian().into()),
            ("Acquire::Languages", "none".into()),
            // A suite without updates keeps its last date.
            ("Acquire::Check-Valid-Until", "false".into()),
            ("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false".into()),
        ] {
            let mut option = OsString::from(format!("{key}="));
            option.push(value);
            options.extend(["-o".into(), option]);
        }
        let suite = Self { name: name.to_owned(), arch, state, options };
        suite.update()?;
        Ok(suite)
    }

    fn apt(&self, program: &str, words: &[&str]) -> Command {
        let mut apt = Command::new(program);
        apt.args(&self.options).args(words);
        apt
    }

    fn update(&self) -> Result<()> {
        let stamp = self.state.join("updated");
        let age = stamp.metadata().and_then(|data| data.modified()).ok().map(|at| SystemTime::now().duration_since(at));
        if age.is_some_and(|age| age.is_ok_and(|age| age < LISTS_AGE)) {
            return Ok(());
        }
        // Without Error-Mode apt reports success even if it has fetched nothing.
        match command::quietly(&mut self.apt("apt-get", &["-qq", "-o", "APT::Update::Error-Mode=any", "update"])) {
            Ok(()) => fs::write(&stamp, "").with_context(|| stamp.display().to_string()),
            Err(error) if stamp.exists() => {
                println!("vm: {}: apt's lists are old and could not be renewed: {error:#}", self.name);
                Ok(())
            }
            Err(error) => Err(error).with_context(|| format!("cannot fetch the lists of {}", self.name)),
        }
    }

    /// The newest kernel of `kernel`'s series (`6.16`, `6.16.3`; [`NEWEST`]: of all).
    ///
    /// # Errors
    /// When the suite has none; the message lists its kernels.
    pub fn newest(&self, kernel: &str) -> Result<Available> {
        let suffix = self.suffix();
        let names = command::output(&mut self.apt("apt-cache", &["pkgnames", PREFIX]))?;
        let mut versions: Vec<&str> =
            names.lines().filter_map(|name| name.strip_prefix(PREFIX)?.strip_suffix(suffix.as_str())).collect();
        versions.sort_by_key(|version| Version::of(version));
        let wanted = (kernel != NEWEST).then(|| Version::of(kernel));
        let found = versions.iter().rev().find(|version| {
            wanted.as_ref().is_none_or(|wanted| Version::of(version).is_of(wanted)) && self.is_whole(version)
        });
        let Some(version) = found else {
            bail!("{} has no kernel {kernel}; it has {}", self.name, versions.join(", "));
        };
        let image = format!("{PREFIX}{version}{suffix}");
        let mut packages = vec![image.clone()];
        packages.extend(self.parts(&image)?.into_iter().filter(|part| !part.starts_with('<')));
        Ok(Available { release: format!("{version}{suffix}"), packages })
    }

    fn suffix(&self) -> String {
        format!("-cloud-{}", self.arch.debian())
    }

    /// Since 6.19 the image's package is empty and depends on others; some of these no longer exist.
    fn is_whole(&self, version: &str) -> bool {
        self.parts(&format!("{PREFIX}{version}{}", self.suffix()))
            .is_ok_and(|parts| !parts.iter().any(|p| p.starts_with('<')))
    }

    /// The packages with the kernel's files that `image` depends on; `<…>` marks unavailable ones.
    fn parts(&self, image: &str) -> Result<Vec<String>> {
        let text = command::output(&mut self.apt("apt-cache", &["depends", "--important", image]))?;
        let parts = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        let part = |name: &&str| {
            let name = name.trim_start_matches('<');
            ["linux-base-", "linux-binary-", "linux-modules-"].iter().any(|prefix| {
                name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            })
        };
        Ok(parts.filter(part).map(str::to_owned).collect())
    }

    /// Downloads packages into `folder`.
    ///
    /// # Errors
    /// When apt fails.
    pub fn download(&self, packages: &[String], folder: &Path) -> Result<()> {
        let words: Vec<&str> = ["-qq", "download"].into_iter().chain(packages.iter().map(String::as_str)).collect();
        command::quietly(self.apt("apt-get", &words).current_dir(folder))
    }

    /// Downloads packages and all their dependencies; returns the folder.
    ///
    /// # Errors
    /// When apt fails.
    pub fn download_with_all(&self, packages: &[&str]) -> Result<PathBuf> {
        let mut words = vec!["-qq", "--yes", "--no-install-recommends", "--download-only", "install"];
        words.extend(packages);
        command::quietly(&mut self.apt("apt-get", &words))?;
        Ok(self.state.join("cache/archives"))
    }
}

/// The Debian mirror of the system's apt whose name has this suffix.
fn mirror(end: &str) -> Result<String> {
    let words = ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"];
    let sites = command::output(Command::new("apt-get").args(words)).context("the kernels come by apt")?;
    let main = |site: &&str| site.trim_end_matches('/').ends_with(end);
    let site = sites.lines().map(str::trim).find(main);
    Ok(site.with_context(|| format!("apt knows no Debian mirror (a site that ends in {end})"))?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_has_its_suite() {
        assert_eq!(suite_of("5.10"), "bullseye");
        assert_eq!(suite_of("6.1"), "bookworm");
        assert_eq!(suite_of("6.12.94"), "trixie");
        assert_eq!(suite_of("6.16"), BACKPORTS);
        assert_eq!(suite_of(NEWEST), BACKPORTS);
    }
}
