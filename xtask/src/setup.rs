//! `cargo xtask setup`: shows missing tools, then installs them.

use crate::toolchain::{Kind, Toolchain};
use crate::tree::Tree;
use crate::{build_ebpf, command, linker, nginx, packages, privilege};
use anyhow::{Result, bail};
use clap::ValueEnum;
use std::io::{IsTerminal as _, Write as _, stdin, stdout};

#[derive(clap::Args)]
pub struct Args {
    /// Do not ask before installing
    #[arg(long, short)]
    yes: bool,
    /// Purpose of the preparation
    #[arg(long = "for", value_enum, value_delimiter = ',', default_values = ["build", "test"])]
    purposes: Vec<Purpose>,
}

/// A purpose of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Purpose {
    /// Building the BPF objects (`cargo xtask build-ebpf`)
    Build,
    /// The live tests (`cargo xtask test`)
    Test,
    /// The tools that the benchmark compares with (`cargo xtask bench`)
    Bench,
    /// The live tests on other kernels (`cargo xtask vm`)
    Vm,
}

/// A program and its Debian package.
pub type Tool = (&'static str, &'static str);

const TEST_TOOLS: [Tool; 8] = [
    ("ip", "iproute2"),
    ("ss", "iproute2"),
    ("nft", "nftables"),
    ("conntrack", "conntrack"),
    ("setpriv", "util-linux"),
    ("python3", "python3"),
    ("curl", "curl"),
    ("lsof", "lsof"),
];
const BENCH_TOOLS: [Tool; 3] = [("tcplife", "libbpf-tools"), ("tcpstates", "libbpf-tools"), ("bpftool", "bpftool")];
const VM_TOOLS: [Tool; 5] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("xz", "xz-utils"),
    ("depmod", "kmod"),
    ("python3", "python3"),
];
/// Programs of this machine that tests call in a virtual machine; busybox provides everything else there.
pub const GUEST_TOOLS: [Tool; 12] = [
    ("dash", "dash"),
    ("ip", "iproute2"),
    ("ss", "iproute2"),
    ("tc", "iproute2"),
    ("nstat", "iproute2"),
    ("nft", "nftables"),
    ("conntrack", "conntrack"),
    ("setpriv", "util-linux"),
    // Busybox's own would start busybox's applets before the programs of the PATH.
    ("unshare", "util-linux"),
    ("lsof", "lsof"),
    ("curl", "curl"),
    ("modprobe", "kmod"),
];
/// rustc-web's LLVM has to be the one that bpf-linker is linked with.
const BUILD_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf", "llvm-22-dev"];

/// Missing programs and packages.
#[derive(Debug, Default)]
pub struct Missing {
    /// Programs, by name.
    pub programs: Vec<&'static str>,
    packages: Vec<&'static str>,
    linker: bool,
    nginx: bool,
    /// The reason why the BPF objects cannot be built, if so.
    build: Option<String>,
}

impl Missing {
    /// Finds the missing tools.
    #[must_use]
    pub fn look(tree: &Tree, purposes: &[Purpose]) -> Self {
        let mut missing = Self::default();
        for purpose in purposes {
            match purpose {
                Purpose::Build => missing.look_for_toolchain(tree),
                Purpose::Test => {
                    missing.look_for(&TEST_TOOLS);
                    missing.look_for_nginx(tree);
                }
                Purpose::Bench => missing.look_for(&BENCH_TOOLS),
                Purpose::Vm => {
                    missing.look_for(&VM_TOOLS);
                    missing.look_for(&GUEST_TOOLS);
                    missing.look_for_nginx(tree);
                }
            }
        }
        missing
    }

    /// Whether nothing is missing.
    #[must_use]
    pub fn nothing(&self) -> bool {
        self.programs.is_empty() && self.build.is_none()
    }

    fn look_for(&mut self, tools: &[Tool]) {
        for (program, package) in tools {
            if command::find(program).is_none() {
                self.programs.push(program);
                if !self.packages.contains(package) {
                    self.packages.push(package);
                }
            }
        }
    }

    fn look_for_nginx(&mut self, tree: &Tree) {
        if !nginx::is_here(tree) && !self.nginx {
            self.nginx = true;
            self.programs.push("nginx");
        }
    }

    fn look_for_toolchain(&mut self, tree: &Tree) {
        // On Debian the toolchain that built the objects is available, and `build-ebpf --check` needs it.
        let asked = packages::is_debian().then(|| build_ebpf::recorded(tree)).flatten();
        let Err(why) = build_ebpf::choose(tree, asked) else { return };
        self.build = Some(why.to_string());
        self.packages.extend(BUILD_PACKAGES.iter().filter(|package| !packages::installed(package)));
        self.linker = linker::find(tree).is_none();
    }

    /// Instructions, one per line, for systems where setup cannot install.
    fn by_hand(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.programs.is_empty() {
            lines.push(format!("install with your package manager: {}", self.programs.join(", ")));
        }
        if let Some(why) = &self.build {
            lines.push(format!("the BPF objects cannot be built: {why}"));
            lines.push("  rustup toolchain install nightly --profile minimal --component rust-src".into());
            lines.push(format!("  {}", linker::by_hand()));
        }
        lines
    }

    fn plan(&self, tree: &Tree) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.packages.is_empty() {
            lines.push(format!("install Debian packages as root (apt-get): {}", self.packages.join(" ")));
        }
        if self.linker {
            lines.push(format!("build {} into {} (a minute)", linker::version(), tree.tools().join("bin").display()));
        }
        if self.nginx {
            lines.push(format!(
                "unpack Debian's nginx into {} (it is not installed as a service)",
                nginx::folder(tree).display()
            ));
        }
        lines
    }

    /// Installs everything.
    ///
    /// # Errors
    /// When this is not Debian, root is unavailable, or an installation fails.
    pub fn install(&self, tree: &Tree) -> Result<()> {
        if !packages::is_debian() {
            bail!("this is not Debian, so nothing can be installed for you:\n  {}", self.by_hand().join("\n  "));
        }
        if !self.packages.is_empty() {
            if privilege::prefix().is_err() {
                let [update, install] = packages::install_lines(&self.packages).map(|words| {
                    words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
                });
                bail!("there is no root, sudo or doas here; as root, type:\n  {update}\n  {install}\nthen repeat this");
            }
            packages::install(&self.packages)?;
        }
        if self.linker {
            command::run(&mut linker::install(tree))?;
        }
        if self.nginx {
            nginx::unpack(tree)?;
        }
        Ok(())
    }
}

/// Installs missing tools; asks first unless `yes`.
///
/// # Errors
/// As for [`Missing::install`]; when there is no terminal to ask on; when a tool is missing even afterwards.
pub fn ensure(tree: &Tree, purposes: &[Purpose], yes: bool) -> Result<()> {
    let missing = Missing::look(tree, purposes);
    if missing.nothing() {
        println!("setup: everything is here");
        return Ok(());
    }
    if packages::is_debian() {
        println!("setup will:");
        missing.plan(tree).iter().for_each(|line| println!("  {line}"));
        if !yes && !agreed()? {
            bail!("nothing was changed");
        }
    }
    missing.install(tree)?;
    let still = Missing::look(tree, purposes);
    if !still.nothing() {
        bail!("still missing after the installation:\n  {}", still.by_hand().join("\n  "));
    }
    Ok(())
}

fn agreed() -> Result<bool> {
    if !stdin().is_terminal() {
        bail!("there is no terminal to ask on: add --yes");
    }
    print!("Go on? [y/N] ");
    stdout().flush()?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

pub fn main(args: &Args) -> Result<()> {
    let tree = Tree::find()?;
    ensure(&tree, &args.purposes, args.yes)?;
    if args.purposes.contains(&Purpose::Build) {
        let chosen = build_ebpf::choose(&tree, None)?;
        println!(
            "BPF objects are built with: {} ({}), LLVM {}, {}",
            chosen.rustc, chosen.kind, chosen.llvm, chosen.linker_version
        );
    }
    let kinds = [Kind::Debian, Kind::Nightly];
    for (kind, why) in kinds.into_iter().filter_map(|kind| Some((kind, Toolchain::find(kind, &tree).err()?))) {
        println!("the {kind} toolchain is not complete: {why}");
    }
    Ok(())
}
