//! The read-only data that the agent writes before it loads the object.
//!
//! Programs read the fields one by one, volatile, so that neither compiler folds the build-time value
//! in. The verifier knows each of them (the section is frozen), drops dead branches and treats
//! `pointer + offset` as a constant displacement. From an array map it refuses the same loads.

use aya_ebpf::Global;
use tracer_common::settings::{Offsets, Settings};

/// See [`Offsets`].
#[unsafe(no_mangle)]
pub static OFFSETS: Global<Offsets> = Global::new(Offsets::NONE);

/// See [`Settings`].
#[unsafe(no_mangle)]
pub static SETTINGS: Global<Settings> = Global::new(Settings::NONE);

/// Reads one field of [`OFFSETS`].
#[macro_export]
macro_rules! offset {
    ($field:ident) => {{
        let offsets = (&raw const $crate::globals::OFFSETS).cast::<tracer_common::settings::Offsets>();
        // SAFETY: `Global` is `repr(transparent)` over an initialised `Offsets`.
        #[allow(unused_unsafe, reason = "some users stand in an unsafe block already")]
        let value = unsafe { core::ptr::read_volatile(&raw const (*offsets).$field) };
        value
    }};
}

/// Reads one field of [`SETTINGS`].
#[macro_export]
macro_rules! setting {
    ($field:ident) => {{
        let settings = (&raw const $crate::globals::SETTINGS).cast::<tracer_common::settings::Settings>();
        // SAFETY: `Global` is `repr(transparent)` over an initialised `Settings`.
        #[allow(unused_unsafe, reason = "some users stand in an unsafe block already")]
        let value = unsafe { core::ptr::read_volatile(&raw const (*settings).$field) };
        value
    }};
}

/// Whether one of the `FILTER_*` bits is set.
#[inline(always)]
pub fn filters(bits: u32) -> bool {
    setting!(filters) & bits != 0
}

/// Whether one of the `WANT_*` bits is set.
#[inline(always)]
pub fn wants(bits: u32) -> bool {
    setting!(wants) & bits != 0
}
