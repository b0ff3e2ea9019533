//! A hasher for the kernel side's connection numbers: they are unique and well spread in their low bits already, so one
//! multiplication does (no outsider can choose them).

use std::hash::{BuildHasher, Hasher};

/// Builds [`Multiply`].
#[derive(Clone, Copy, Debug, Default)]
pub struct IdentityHasher;

/// Hashes by one multiplication.
#[derive(Clone, Copy, Debug, Default)]
pub struct Multiply(u64);

impl BuildHasher for IdentityHasher {
    type Hasher = Multiply;
    fn build_hasher(&self) -> Multiply {
        Multiply(0)
    }
}

impl Hasher for Multiply {
    fn finish(&self) -> u64 {
        // The map takes its index from the low bits and its tag from the high ones.
        self.0.rotate_right(32)
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
