//! Values of options: times and sizes.

use std::time::Duration;

use tracer_words::time::time;

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
    fn a_positive_time_is_not_zero() {
        assert!(positive_time("0s").is_err());
        assert_eq!(positive_time("1ms"), Ok(Duration::from_millis(1)));
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
