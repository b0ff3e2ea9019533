//! Wall-clock times.
//!
//! Events carry `CLOCK_BOOTTIME`; the output adds a constant to it, so that the times stay in the
//! order of the stream even if the clock is set.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use log::warn;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// Converts `CLOCK_BOOTTIME` to the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WallClock {
    /// Wall clock minus boot time, in ns.
    pub offset_ns: i64,
}

impl WallClock {
    /// Returns nanoseconds since 1970-01-01 00:00 UTC.
    #[must_use]
    pub fn wall_ns(self, boot_ns: u64) -> i64 {
        self.offset_ns.saturating_add_unsigned(boot_ns)
    }
}

/// Returns year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
/// After Howard Hinnant, "chrono-compatible low-level date algorithms".
fn civil_from_days(days: i64) -> (i64, u8, u8) {
    // Eras of 400 years that begin on 1 March, so that the leap day is the last of its year.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u8, day as u8)
}

fn digits<const N: usize>(mut number: u64) -> [u8; N] {
    let mut text = [b'0'; N];
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    text
}

/// Writes RFC 3339 times in UTC with nanoseconds. The text of the last second is kept.
#[derive(Clone, Debug, Default)]
pub struct Rfc3339 {
    second: Option<i64>,
    text: String,
}

impl Rfc3339 {
    /// Returns `wall_ns` as text.
    pub fn text(&mut self, wall_ns: i64) -> String {
        let mut text = Vec::new();
        self.write(&mut text, wall_ns);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Appends `wall_ns` to `out`.
    pub fn write(&mut self, out: &mut Vec<u8>, wall_ns: i64) {
        let second = wall_ns.div_euclid(SECOND);
        if self.second != Some(second) {
            self.second = Some(second);
            let (year, month, day) = civil_from_days(second.div_euclid(DAY));
            let (hour, minute, second) = clock_of_day(second);
            self.text.clear();
            // Writing to a String does not fail.
            let _ = write!(self.text, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.");
        }
        out.extend_from_slice(self.text.as_bytes());
        out.extend_from_slice(&digits::<9>(wall_ns.rem_euclid(SECOND) as u64));
        out.push(b'Z');
    }
}

fn clock_of_day(second: i64) -> (i64, i64, i64) {
    let second = second.rem_euclid(DAY);
    (second / 3600, second / 60 % 60, second % 60)
}

/// Writes times of day, `12:01:02.123`. The text of the last second is kept.
#[derive(Clone, Debug)]
pub struct TimeOfDay {
    utc: bool,
    second: Option<i64>,
    text: String,
}

impl TimeOfDay {
    /// Columns of a time.
    pub const WIDTH: usize = 12;
    /// Columns of a time without its milliseconds.
    pub const SECONDS: usize = 8;

    /// Makes a writer for UTC or the host's time zone.
    #[must_use]
    pub fn new(utc: bool) -> Self {
        // The C library reads the zone's file only here.
        let utc = utc || !zone_can_be_read() || local(0).is_none();
        Self { utc, second: None, text: String::new() }
    }

    /// Appends the time of day of `wall_ns` to `out`.
    pub fn write(&mut self, out: &mut Vec<u8>, wall_ns: i64) {
        let second = wall_ns.div_euclid(SECOND);
        if self.second != Some(second) {
            self.second = Some(second);
            let (hour, minute, second) =
                if self.utc { None } else { local(second) }.unwrap_or_else(|| clock_of_day(second));
            self.text.clear();
            let _ = write!(self.text, "{hour:02}:{minute:02}:{second:02}.");
        }
        out.extend_from_slice(self.text.as_bytes());
        out.extend_from_slice(&digits::<3>((wall_ns.rem_euclid(SECOND) / 1_000_000) as u64));
    }
}

/// Whether the C library can read the file of the time zone without blocking: a pipe may have no writer.
fn zone_can_be_read() -> bool {
    let Some(path) = zone_file(std::env::var_os("TZ"), std::env::var_os("TZDIR")) else { return true };
    // A name without a file is a rule such as CET-1CEST, or UTC.
    let can_be_read = std::fs::metadata(&path).map_or(true, |metadata| metadata.is_file());
    if !can_be_read {
        warn!("{} is not a time zone file: times are UTC; set TZ to a name such as Europe/Vienna", path.display());
    }
    can_be_read
}

/// Returns the file that the C library reads the time zone from; `None`: it needs none.
fn zone_file(zone: Option<OsString>, directory: Option<OsString>) -> Option<PathBuf> {
    let Some(zone) = zone else { return Some("/etc/localtime".into()) };
    let name = zone.as_bytes().strip_prefix(b":").unwrap_or(zone.as_bytes());
    let directory = directory.unwrap_or_else(|| "/usr/share/zoneinfo".into());
    // An absolute path stays as it is.
    (!name.is_empty()).then(|| Path::new(&directory).join(OsStr::from_bytes(name)))
}

/// Returns hour, minute and second in the host's time zone; `None` if the C library fails.
fn local(second: i64) -> Option<(i64, i64, i64)> {
    let time: libc::time_t = second;
    // SAFETY: an all-zero `tm` is a valid one: integers and a null pointer.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call; localtime_r keeps neither.
    let done = unsafe { libc::localtime_r(&raw const time, &raw mut parts) };
    (!done.is_null()).then(|| (parts.tm_hour.into(), parts.tm_min.into(), parts.tm_sec.into()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn rfc3339(wall_ns: i64) -> String {
        let mut out = Vec::new();
        Rfc3339::default().write(&mut out, wall_ns);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_zone_is_where_the_c_library_looks_for_it() {
        let file = |zone: Option<&str>, directory: Option<&str>| {
            zone_file(zone.map(Into::into), directory.map(Into::into)).map(|path| path.display().to_string())
        };
        assert_eq!(file(None, None).unwrap(), "/etc/localtime");
        assert_eq!(file(Some(""), None), None);
        assert_eq!(file(Some("Europe/Vienna"), None).unwrap(), "/usr/share/zoneinfo/Europe/Vienna");
        assert_eq!(file(Some(":Europe/Vienna"), Some("/zones")).unwrap(), "/zones/Europe/Vienna");
        assert_eq!(file(Some(":/tmp/zone"), Some("/zones")).unwrap(), "/tmp/zone");
    }

    #[test]
    fn times_as_date_prints_them() {
        // date -u -d @N --iso-8601=ns
        for (wall_ns, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (951_827_696_789_000_001, "2000-02-29T12:34:56.789000001Z"),
            (1_709_210_096_000_000_000, "2024-02-29T12:34:56.000000000Z"),
            (1_735_689_599_999_999_999, "2024-12-31T23:59:59.999999999Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
        ] {
            assert_eq!(rfc3339(wall_ns), text);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let length = |year: i64, month| match month {
            2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let mut expected = (1970, 1, 1);
        for days in 0..150_000 {
            assert_eq!(civil_from_days(days), expected);
            let (year, month, day) = expected;
            expected = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, day) if day == length(year, month) => (year, month + 1, 1),
                (_, day) => (year, month, day + 1),
            };
        }
    }

    #[test]
    fn the_kept_second_is_not_used_for_another() {
        let mut clock = Rfc3339::default();
        for wall_ns in [5 * SECOND, 5 * SECOND + 1, 6 * SECOND, 5 * SECOND] {
            let mut out = Vec::new();
            clock.write(&mut out, wall_ns);
            assert_eq!(String::from_utf8(out).unwrap(), rfc3339(wall_ns));
        }
    }

    #[test]
    fn local_times_are_those_of_the_c_library() {
        let wall_ns = 1_709_210_096_123_456_789;
        let mut utc = Vec::new();
        TimeOfDay::new(true).write(&mut utc, wall_ns);
        assert_eq!(utc, b"12:34:56.123");
        assert_eq!(utc.len(), TimeOfDay::WIDTH);
        let mut own = Vec::new();
        TimeOfDay::new(false).write(&mut own, wall_ns);
        let own = String::from_utf8(own).unwrap();
        let (hour, minute, second) = local(wall_ns / SECOND).unwrap();
        assert_eq!(own, format!("{hour:02}:{minute:02}:{second:02}.123"));
        assert!(own.ends_with("56.123"), "no zone has had odd seconds since 1972: {own}");
    }

    #[test]
    fn the_clock_is_the_boot_time_and_a_constant() {
        let clock = WallClock { offset_ns: 1_700_000_000 * SECOND };
        assert_eq!(clock.wall_ns(5), 1_700_000_000 * SECOND + 5);
        assert_eq!(clock.wall_ns(u64::MAX), i64::MAX);
    }

    /// Both clocks run while the host sleeps; the boot clock ignores settings of the wall clock.
    #[test]
    fn a_sleep_of_the_host_is_in_both() {
        const SLEEP: u64 = 8 * 3600 * SECOND as u64;
        let clock = WallClock { offset_ns: 1_700_000_000 * SECOND };
        let (before, after) = (clock.wall_ns(1000), clock.wall_ns(1000 + SLEEP));
        assert_eq!(after - before, SLEEP as i64);
        let mut of_day = Vec::new();
        let mut time = TimeOfDay::new(true);
        time.write(&mut of_day, before);
        time.write(&mut of_day, after);
        assert_eq!(of_day, b"22:13:20.00006:13:20.000");
    }
}
