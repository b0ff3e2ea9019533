//! Random inputs for the tests of parsers: noise, and mutations of what is real.
//!
//! `TRACER_FUZZ` is the number of inputs for each parser, `TRACER_FUZZ_SEED` where they begin.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

/// Inputs for each parser, unless the environment says another number.
const INPUTS: u64 = 20_000;
/// Bytes of an input.
pub const MOST: usize = 2048;
/// Words that stand in what the kernel tells, or nearly.
const WORDS: [&[u8]; 24] = [
    b"-1",
    b"4294967295",
    b"4294967296",
    b"18446744073709551615",
    b"18446744073709551616",
    b"ffffffffffffffff",
    b"FFFFFFFF",
    b"0x",
    b"\t",
    b"\n",
    b":",
    b" ",
    b"*",
    b"@",
    b"<->",
    b"0",
    b"9",
    b"f",
    b"X",
    b"\xff\xfe",
    b"src=",
    b"dst=::",
    b"\0",
    b"\xe6\x97\xa5",
];

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// How many inputs a parser gets.
pub fn inputs() -> u64 {
    setting("TRACER_FUZZ").unwrap_or(INPUTS)
}

/// Calls `parse` with mutations of `seeds` and with noise.
pub fn fuzz(seeds: &[Vec<u8>], mut parse: impl FnMut(&[u8])) {
    let mut random = Random::seeded();
    for n in 0..inputs() {
        if n % 8 == 7 || seeds.is_empty() {
            parse(&random.noise());
        } else {
            let mut input = seeds[random.below(seeds.len())].clone();
            random.mutate(&mut input, seeds);
            parse(&input);
        }
    }
}

/// Random numbers with a seed: splitmix64 (Steele, Lea, Flood 2014).
pub struct Random(u64);

impl Random {
    /// With this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// With the seed of the environment.
    pub fn seeded() -> Self {
        Self::new(setting("TRACER_FUZZ_SEED").unwrap_or(0x7261_6365))
    }

    /// The next number, of all 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`; 0 if there is none.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.bits() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    /// A number of any magnitude.
    pub fn any(&mut self) -> u64 {
        let shift = self.below(64);
        self.bits() >> shift
    }

    /// A number of any magnitude, the least and the greatest often.
    pub fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => 0,
            1 => u64::MAX,
            _ => self.any(),
        }
    }

    /// Like [`Self::number`], of 32 bits.
    pub fn u32(&mut self) -> u32 {
        self.number() as u32
    }

    /// Like [`Self::number`], of 16 bits.
    pub fn u16(&mut self) -> u16 {
        self.number() as u16
    }

    /// A name as the kernel allows one for a device.
    pub fn name(&mut self) -> String {
        let letters: Vec<char> = "abcxyz0189-_.@é日\u{1b}".chars().collect();
        (0..1 + self.below(12)).map(|_| letters[self.below(letters.len())]).collect()
    }

    /// Up to 200 random bytes.
    pub fn noise(&mut self) -> Vec<u8> {
        (0..self.below(200)).map(|_| self.bits() as u8).collect()
    }

    /// A few changes to `input`, or none: bytes, bits, cuts, doublings, insertions, and ends of one of
    /// `others`.
    pub fn mutate(&mut self, input: &mut Vec<u8>, others: &[Vec<u8>]) {
        for _ in 0..self.below(6) {
            self.change(input, others);
        }
        input.truncate(MOST);
    }

    fn change(&mut self, input: &mut Vec<u8>, others: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let end = at + self.below(input.len() - at + 1).min(40);
        match self.below(9) {
            0 if at < input.len() => input[at] = self.bits() as u8,
            1 if at < input.len() => input[at] ^= 1 << self.below(8),
            2 if at < input.len() => input[at] = WORDS[self.below(WORDS.len())][0],
            3 if at < input.len() => drop(input.remove(at)),
            4 => input.truncate(at),
            5 => drop(input.splice(at..at, WORDS[self.below(WORDS.len())].iter().copied())),
            6 => {
                let part = input[at..end].to_vec();
                let to = self.below(input.len() + 1);
                drop(input.splice(to..to, part));
            }
            7 => drop(input.drain(at..end)),
            _ if !others.is_empty() => {
                let other = &others[self.below(others.len())];
                input.truncate(at);
                input.extend_from_slice(&other[self.below(other.len() + 1)..]);
            }
            _ => {}
        }
    }
}
