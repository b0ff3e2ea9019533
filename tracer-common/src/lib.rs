//! The interface between the BPF programs and the agent.
//!
//! Everything here is plain data: the records ([`record`]) that travel through the ring buffer, the
//! [`settings`] that the agent writes into the object before it is loaded, and the counters
//! ([`counter`]) that both sides index. The crate has no code that runs on one side only, apart
//! from the checked decoding ([`mod@decode`]) of records.
#![no_std]

pub mod audit;
pub mod counter;
pub mod decode;
pub mod drops;
pub mod identity;
pub mod iterator;
pub mod offsets;
pub mod packet;
pub mod record;
pub mod settings;
pub mod silence;
pub mod tcp;

/// Marks the plain-data types as `aya::Pod`, so that the agent may write them into maps.
#[cfg(feature = "user")]
mod pod {
    macro_rules! pod {
        ($($t:ty),* $(,)?) => { $(
            // SAFETY: `repr(C)`, `Copy`, made of integers only, without implicit padding (the size
            // asserts beside each type prove that).
            unsafe impl aya::Pod for $t {}
        )* };
    }
    pod!(
        crate::drops::Fold,
        crate::record::SocketState,
        crate::settings::Offsets,
        crate::settings::Settings,
        crate::settings::PrefixKey4,
        crate::settings::PrefixKey6
    );
}
