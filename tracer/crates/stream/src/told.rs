//! Whether the `process` event of a process was emitted.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Shared by all owners of one program in one process: its `process` event comes once. It lives as long as a connection
/// refers to the owner, so it needs no bounded table.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<AtomicBool>);

impl Told {
    /// Whether this is the first call.
    #[must_use]
    pub fn is_first(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}

/// All values are equal: the flag does not belong to an owner's identity.
impl PartialEq for Told {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Told {}
