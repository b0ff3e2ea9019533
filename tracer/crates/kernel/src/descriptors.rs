//! The limit of open files under which no trace can begin.

use rustix::process::{Resource, getrlimit};

/// The fewest descriptors that a trace needs at its start: each program is one, and so is its attachment. With fewer,
/// the kernel's refusals would pass for missing features.
pub const DESCRIPTORS: u64 = 128;

/// How many descriptors this process may have, if that is too few for a trace.
#[must_use]
pub fn too_few() -> Option<u64> {
    getrlimit(Resource::Nofile).current.filter(|limit| *limit < DESCRIPTORS)
}
