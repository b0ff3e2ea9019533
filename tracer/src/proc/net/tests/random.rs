//! Random numbers with a seed.

pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n.max(1)).unwrap()).unwrap()
    }

    /// A number of any magnitude.
    pub(super) fn any(&mut self) -> u64 {
        let shift = self.below(64);
        self.next() >> shift
    }

    /// A name as the kernel allows one for a device.
    pub(super) fn name(&mut self) -> String {
        let letters: Vec<char> = "abcxyz0189-_.@é日\u{1b}".chars().collect();
        (0..1 + self.below(12)).map(|_| letters[self.below(letters.len())]).collect()
    }
}
