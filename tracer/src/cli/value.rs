//! Values of options: times and sizes.

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

/// Reads a time that is not zero.
///
/// # Errors
/// Like [`time`], and for zero.
pub fn positive_time(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("the time must be longer than zero".to_owned()),
        time => Ok(time),
    }
}

/// The least page size of all supported machines; larger page sizes are multiples of it.
const LEAST_BUFFER: u64 = 4096;
/// The greatest power of two that a map's `max_entries` can hold.
const MOST_BUFFER: u64 = 1 << 31;

/// Reads the size of a ring buffer in bytes: a power of two and a multiple of the page size, with
/// `K`, `M` or `G`.
///
/// # Errors
/// A sentence that names valid sizes.
pub fn buffer(text: &str) -> Result<u32, String> {
    buffer_for(text, page_size())
}

fn page_size() -> u64 {
    u64::try_from(rustix::param::page_size()).unwrap_or(LEAST_BUFFER).max(LEAST_BUFFER)
}

fn buffer_for(text: &str, page: u64) -> Result<u32, String> {
    let wrong = || format!("`{text}` is not a size; write 65536, 512K or 16M");
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let unit: u64 = match unit.to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let size = number.checked_mul(unit).filter(|size| (page..=MOST_BUFFER).contains(size)).ok_or_else(|| {
        format!("`{text}` is out of range; the buffer has from {page} (one page) to {MOST_BUFFER} bytes")
    })?;
    if !size.is_power_of_two() {
        let above = size.next_power_of_two();
        return Err(format!("`{text}` is not a power of two; use {} or {}", shown(above / 2), shown(above)));
    }
    u32::try_from(size).map_err(|_| wrong())
}

fn shown(size: u64) -> String {
    match size {
        size if size >= 1 << 20 => format!("{}M", size >> 20),
        size if size >= 1 << 10 => format!("{}K", size >> 10),
        size => size.to_string(),
    }
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
        assert!(positive_time("0s").is_err());
    }

    #[test]
    fn buffers_are_powers_of_two_of_whole_pages() {
        assert_eq!(buffer_for("4096", 4096), Ok(4096));
        assert_eq!(buffer_for("512K", 4096), Ok(512 << 10));
        assert_eq!(buffer_for("16m", 4096), Ok(16 << 20));
        assert_eq!(buffer_for("16MiB", 4096), Ok(16 << 20));
        assert_eq!(buffer_for("2G", 4096), Ok(1 << 31));
        assert_eq!(buffer_for("3M", 4096), Err("`3M` is not a power of two; use 2M or 4M".into()));
        for text in ["2048", "4G", "", "x", "1T", "-1", "1.5M", "99999999999999999999"] {
            assert!(buffer_for(text, 4096).is_err(), "{text}");
        }
        assert!(buffer_for("4096", 65536).is_err(), "less than a page");
    }
}
