//! The running kernel's description of itself.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use log::debug;
use tracer_common::settings::ABSENT;
use tracer_tables::reasons::Reasons;

use crate::{
    allocator,
    kernel::{
        btf::{Btf, BtfError},
        format::{Tracefs, mount_tracefs},
        offsets::{self, Resolved},
        reasons,
        types::KernelTypes,
    },
};

/// The file with the running kernel's type information.
const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// The source of type information, other than the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Types {
    /// None: as if the kernel had none.
    None,
    /// This file.
    File(PathBuf),
}

/// The running kernel, as it describes itself.
#[derive(Debug)]
pub struct Running {
    /// Type information for attaching.
    pub types: KernelTypes,
    /// Why there is no BTF.
    pub no_btf: Option<BtfError>,
    /// Offsets.
    pub resolved: Resolved,
    /// Names of drop and reset reasons.
    pub reasons: Reasons,
    /// tracefs; tracer mounts it if it is not mounted.
    pub tracefs: Option<Tracefs>,
}

impl Running {
    /// Reads it; `from`: the type information to use instead of the kernel's.
    ///
    /// # Errors
    /// If no thread can be started, or the file is not this kernel's type information.
    pub fn look(from: Option<&Types>) -> anyhow::Result<Self> {
        allocator::keep_to_few_places();
        let (types, found) = match from {
            Some(Types::None) => (KernelTypes::none().context("cannot start a thread")?, Err(BtfError::NotWanted)),
            None => {
                // Three readers read the same 5 MB: for attaching, for the loader, and ours for members.
                let types = KernelTypes::start().context("cannot start a thread")?;
                (types, Btf::read(Path::new(BTF_PATH), &offsets::wanted()))
            }
            Some(Types::File(path)) => {
                // The kernel attaches only by its own type information.
                let types = KernelTypes::start().context("cannot start a thread")?;
                (types, Ok(read_for_this_kernel(path)?))
            }
        };
        let (ours, no_btf) = match found {
            Ok(btf) => (Some(btf), None),
            Err(error) => (None, Some(error)),
        };
        let tracefs = Tracefs::find(Path::new("/")).or_else(|| {
            if Tracefs::is_closed(Path::new("/")) {
                return None;
            }
            if let Err(error) = mount_tracefs() {
                debug!("cannot mount tracefs: {error}");
            }
            Tracefs::find(Path::new("/"))
        });
        let resolved = offsets::resolve(ours.as_ref(), tracefs.as_ref());
        let reasons = ours.as_ref().map(reasons::read).unwrap_or_default();
        Ok(Self { types, no_btf, resolved, reasons, tracefs })
    }
}

/// Reads type information from the file at `path`; fails if the running kernel's own contradicts it. A
/// kernel without BTF allows no comparison.
fn read_for_this_kernel(path: &Path) -> anyhow::Result<Btf> {
    let file = match Btf::read(path, &offsets::wanted()) {
        Ok(file) => file,
        Err(BtfError::Read { source, .. }) => bail!("cannot read --btf {}: {source}", path.display()),
        Err(error) => bail!("--btf {} cannot be used: {error}", path.display()),
    };
    let kernel = Btf::read(Path::new(BTF_PATH), &offsets::wanted());
    if let Some((name, there, here)) = kernel.ok().and_then(|kernel| offsets::contradiction(&file, &kernel)) {
        let here = if here == ABSENT { "not there".to_owned() } else { here.to_string() };
        bail!(
            "--btf {} is not of the running kernel: {name} is {there} there, and {here} in the kernel's own; \
             leave --btf away",
            path.display()
        );
    }
    Ok(file)
}

/// The names of the running kernel's reasons, by type information of this source; `None`: there is none.
#[must_use]
pub fn reasons(from: Option<&Types>) -> Option<Reasons> {
    let path = match from {
        Some(Types::File(path)) => path.as_path(),
        Some(Types::None) => return None,
        None => Path::new(BTF_PATH),
    };
    Btf::read(path, &offsets::wanted()).ok().map(|btf| reasons::read(&btf))
}

/// Returns why there is no tracefs, and a remedy.
pub fn no_tracefs() -> &'static str {
    if Tracefs::is_closed(Path::new("/")) {
        "tracefs may not be read without CAP_DAC_READ_SEARCH"
    } else {
        "tracefs is not mounted (mount -t tracefs tracefs /sys/kernel/tracing)"
    }
}
