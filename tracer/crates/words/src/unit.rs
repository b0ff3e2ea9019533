//! Numbers for people.

use std::fmt::{self, Write as _};

use super::number::append as number;

/// A count of bytes: `345B`, `1.2kB`, `12MB`. At most six columns.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

impl Bytes {
    /// Appends the text.
    pub fn append(self, out: &mut Vec<u8>) {
        if self.0 < 1000 {
            number(out, self.0);
            return out.push(b'B');
        }
        let mut scale = 1000_u64;
        for (n, unit) in UNITS.iter().enumerate() {
            // One digit after the point below 10, rounded to nearest.
            let tenths = (u128::from(self.0) * 10 + u128::from(scale) / 2) / u128::from(scale);
            let whole = (u128::from(self.0) + u128::from(scale) / 2) / u128::from(scale);
            if tenths < 100 {
                with_tenths(out, tenths as u64);
            } else if whole < 1000 || n + 1 == UNITS.len() {
                number(out, whole as u64);
            } else {
                scale = scale.saturating_mul(1000);
                continue;
            }
            return out.extend_from_slice(unit);
        }
    }
}

const UNITS: [&[u8]; 6] = [b"kB", b"MB", b"GB", b"TB", b"PB", b"EB"];

fn with_tenths(out: &mut Vec<u8>, tenths: u64) {
    number(out, tenths / 10);
    out.push(b'.');
    number(out, tenths % 10);
}

fn two_digits(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        out.push(b'0');
    }
    number(out, value);
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.append(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// A duration in µs: `850µs`, `1.2ms`, `35ms`, `1.24s`, `2m05s`, `3h05m`, `12d03h`.
#[derive(Clone, Copy, Debug)]
pub struct Micros(pub u64);

impl Micros {
    /// Appends the text.
    pub fn append(self, out: &mut Vec<u8>) {
        let us = self.0;
        // Each limit is where rounding would reach the next unit.
        let unit = match us {
            0..1_000 => {
                number(out, us);
                "µs"
            }
            1_000..9_950 => {
                with_tenths(out, (us + 50) / 100);
                "ms"
            }
            9_950..999_500 => {
                number(out, (us + 500) / 1_000);
                "ms"
            }
            999_500..9_995_000 => {
                let hundredths = (us + 5_000) / 10_000;
                number(out, hundredths / 100);
                out.push(b'.');
                two_digits(out, hundredths % 100);
                "s"
            }
            9_995_000..59_950_000 => {
                with_tenths(out, (us + 50_000) / 100_000);
                "s"
            }
            59_950_000..3_599_500_000 => parts(out, us.saturating_add(500_000) / 1_000_000, 60, b'm', "s"),
            3_599_500_000..86_370_000_000 => parts(out, us.saturating_add(30_000_000) / 60_000_000, 60, b'h', "m"),
            _ => parts(out, us.saturating_add(1_800_000_000) / 3_600_000_000, 24, b'd', "h"),
        };
        out.extend_from_slice(unit.as_bytes());
    }
}

/// Appends `value` in units of `each`, and the remainder; returns the unit of the remainder.
fn parts(out: &mut Vec<u8>, value: u64, each: u64, unit: u8, rest: &'static str) -> &'static str {
    number(out, value / each);
    out.push(unit);
    two_digits(out, value % each);
    rest
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.append(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// A count with its digits in groups: `1,234,567`.
#[derive(Clone, Copy, Debug)]
pub struct Count(pub u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
        for (n, digit) in digits.chars().enumerate() {
            if n > 0 && (digits.len() - n).is_multiple_of(3) {
                text.write_char(',')?;
            }
            text.write_char(digit)?;
        }
        f.pad_integral(true, "", &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1.0kB"),
            (1049, "1.0kB"),
            (1050, "1.1kB"),
            (9_949, "9.9kB"),
            (9_950, "10kB"),
            (999_499, "999kB"),
            (999_500, "1.0MB"),
            (1_234_567, "1.2MB"),
            (u64::MAX, "18EB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn times() {
        for (us, text) in [
            (0, "0µs"),
            (999, "999µs"),
            (1_000, "1.0ms"),
            (9_949, "9.9ms"),
            (9_950, "10ms"),
            (999_499, "999ms"),
            (999_500, "1.00s"),
            (1_240_000, "1.24s"),
            (9_994_999, "9.99s"),
            (9_995_000, "10.0s"),
            (59_949_999, "59.9s"),
            (59_950_000, "1m00s"),
            (125_000_000, "2m05s"),
            (3_599_499_999, "59m59s"),
            (3_599_500_000, "1h00m"),
            (86_369_999_999, "23h59m"),
            (86_370_000_000, "1d00h"),
            (u64::MAX, "213503982d08h"),
        ] {
            assert_eq!(Micros(us).to_string(), text, "{us}");
        }
    }

    #[test]
    fn short_whatever_the_number() {
        for shift in 0..64 {
            for number in [1_u64 << shift, (1 << shift) - 1, (1 << shift) + 1] {
                assert!(Bytes(number).to_string().len() <= 6, "{}", Bytes(number));
            }
        }
    }

    #[test]
    fn counts() {
        for (count, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(Count(count).to_string(), text);
        }
        assert_eq!(format!("{:>9}", Count(12_345)), "   12,345");
    }
}
