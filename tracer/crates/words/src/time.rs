//! Times as people write them.

use std::time::Duration;

/// Reads a time: a number with `us`, `ms`, `s` (the default), `m`, `h` or `d`.
///
/// # Errors
/// A sentence that shows how to write a time.
pub fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time; write 10s, 500ms, 2m or 1h");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ns: u64 = match unit {
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "" | "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || (number.contains('.') && fraction.is_empty()) || fraction.len() > 9 {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let mut total = whole.checked_mul(unit_ns).ok_or_else(|| format!("`{text}` is too long a time"))?;
    if !fraction.is_empty() {
        let part: u64 = fraction.parse().map_err(|_| wrong())?;
        let scale = 10_u64.pow(u32::try_from(fraction.len()).map_err(|_| wrong())?);
        let part = u128::from(part) * u128::from(unit_ns) / u128::from(scale);
        total = u64::try_from(part).ok().and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
    }
    Ok(Duration::from_nanos(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, millis) in
            [("10", 10_000), ("10s", 10_000), ("500ms", 500), ("2m", 120_000), ("1h", 3_600_000), ("1d", 86_400_000)]
        {
            assert_eq!(time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(time("0"), Ok(Duration::ZERO));
        assert_eq!(time("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(time("0.25ms"), Ok(Duration::from_micros(250)));
        assert_eq!(time("7us"), Ok(Duration::from_micros(7)));
        for text in ["", "s", "1x", "-1", "1.", ".5", "1.2.3", "99999999999999999999", "999999999d", "1 s", "1e3"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
