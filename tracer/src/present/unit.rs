//! Numbers as people read them.

use std::fmt::{self, Write as _};

/// A count of bytes: `345B`, `1.2kB`, `12MB`. At most six columns.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1000 {
            return write!(f, "{}B", self.0);
        }
        let units = ["kB", "MB", "GB", "TB", "PB", "EB"];
        let mut scale = 1000_u64;
        for (n, unit) in units.iter().enumerate() {
            // One digit after the point below ten, rounded to the nearest.
            let tenths = (u128::from(self.0) * 10 + u128::from(scale) / 2) / u128::from(scale);
            let whole = (u128::from(self.0) + u128::from(scale) / 2) / u128::from(scale);
            if tenths < 100 {
                return write!(f, "{}.{}{unit}", tenths / 10, tenths % 10);
            }
            if whole < 1000 || n + 1 == units.len() {
                return write!(f, "{whole}{unit}");
            }
            scale = scale.saturating_mul(1000);
        }
        Ok(())
    }
}

/// A time of so many µs: `850µs`, `1.2ms`, `35ms`, `1.24s`, `2m05s`, `3h05m`, `12d03h`.
#[derive(Clone, Copy, Debug)]
pub struct Micros(pub u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0;
        // The limits are where rounding would give the next unit.
        match us {
            0..1_000 => write!(f, "{us}µs"),
            1_000..9_950 => {
                let tenths = (us + 50) / 100;
                write!(f, "{}.{}ms", tenths / 10, tenths % 10)
            }
            9_950..999_500 => write!(f, "{}ms", (us + 500) / 1_000),
            999_500..9_995_000 => {
                let hundredths = (us + 5_000) / 10_000;
                write!(f, "{}.{:02}s", hundredths / 100, hundredths % 100)
            }
            9_995_000..59_950_000 => {
                let tenths = (us + 50_000) / 100_000;
                write!(f, "{}.{}s", tenths / 10, tenths % 10)
            }
            59_950_000..3_599_500_000 => {
                let seconds = us.saturating_add(500_000) / 1_000_000;
                write!(f, "{}m{:02}s", seconds / 60, seconds % 60)
            }
            3_599_500_000..86_370_000_000 => {
                let minutes = us.saturating_add(30_000_000) / 60_000_000;
                write!(f, "{}h{:02}m", minutes / 60, minutes % 60)
            }
            _ => {
                let hours = us.saturating_add(1_800_000_000) / 3_600_000_000;
                write!(f, "{}d{:02}h", hours / 24, hours % 24)
            }
        }
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
