//! Wall-clock times.
//!
//! Events carry `CLOCK_BOOTTIME`; the output adds a constant to it, so that the times stay in the
//! order of the stream even if the clock is set.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use log::warn;

const SECOND: i64 = 1_000_000_000;
/// Bytes of the largest file that is taken for a time zone; those of the database have less than 4 KiB.
const LARGEST_ZONE: u64 = 256 << 10;

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
            let at = civil(&TimeZone::UTC, second);
            let (hour, minute, second) = (at.hour(), at.minute(), at.second());
            self.text.clear();
            // Writing to a String does not fail.
            let _ = write!(self.text, "{}T{hour:02}:{minute:02}:{second:02}.", at.date());
        }
        out.extend_from_slice(self.text.as_bytes());
        out.extend_from_slice(&digits::<9>(wall_ns.rem_euclid(SECOND) as u64));
        out.push(b'Z');
    }
}

fn civil(zone: &TimeZone, second: i64) -> DateTime {
    // The nanoseconds of an i64 are within the years that jiff knows.
    zone.to_datetime(Timestamp::from_second(second).unwrap_or_default())
}

/// Writes times of day, `12:01:02.123`. The text of the last second is kept.
#[derive(Clone, Debug)]
pub struct TimeOfDay {
    zone: TimeZone,
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
        Self { zone: if utc { TimeZone::UTC } else { local_zone() }, second: None, text: String::new() }
    }

    /// Appends the time of day of `wall_ns` to `out`.
    pub fn write(&mut self, out: &mut Vec<u8>, wall_ns: i64) {
        let second = wall_ns.div_euclid(SECOND);
        if self.second != Some(second) {
            self.second = Some(second);
            let at = civil(&self.zone, second);
            let (hour, minute, second) = (at.hour(), at.minute(), at.second());
            self.text.clear();
            let _ = write!(self.text, "{hour:02}:{minute:02}:{second:02}.");
        }
        out.extend_from_slice(self.text.as_bytes());
        out.extend_from_slice(&digits::<3>((wall_ns.rem_euclid(SECOND) / 1_000_000) as u64));
    }
}

/// Reads the host's time zone, as the C library chooses it: from a file, or a rule such as `CET-1CEST`.
fn local_zone() -> TimeZone {
    let zone = env::var_os("TZ");
    let Some(path) = zone_file(zone.clone(), env::var_os("TZDIR")) else { return TimeZone::UTC };
    let file = read_bounded(&path).and_then(|bytes| {
        TimeZone::tzif(&path.to_string_lossy(), &bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
    });
    match file {
        Ok(zone) => zone,
        // A name without a file is a rule; another name, or no file at all, means UTC.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            let rule = zone.as_deref().and_then(OsStr::to_str).map(|zone| zone.strip_prefix(':').unwrap_or(zone));
            rule.and_then(by_rule).unwrap_or(TimeZone::UTC)
        }
        Err(error) => {
            let path = path.display();
            warn!("{path} is not a time zone file: times are UTC; set TZ to a name such as Europe/Vienna ({error})");
            TimeZone::UTC
        }
    }
}

/// The time zone of a rule as tzset(3) has it. A name of summer time without its dates means the C library's default.
fn by_rule(rule: &str) -> Option<TimeZone> {
    TimeZone::posix(rule).or_else(|_| TimeZone::posix(&format!("{rule},M3.2.0,M11.1.0"))).ok()
}

/// Reads a regular file of at most [`LARGEST_ZONE`] bytes. A pipe, which may have no writer, is refused at once.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "no regular file"));
    }
    let mut bytes = Vec::new();
    if file.take(LARGEST_ZONE + 1).read_to_end(&mut bytes)? as u64 > LARGEST_ZONE {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// Returns the file that the C library reads the time zone from; `None`: it needs none.
fn zone_file(zone: Option<OsString>, directory: Option<OsString>) -> Option<PathBuf> {
    let Some(zone) = zone else { return Some("/etc/localtime".into()) };
    let name = zone.as_bytes().strip_prefix(b":").unwrap_or(zone.as_bytes());
    let directory = directory.unwrap_or_else(|| "/usr/share/zoneinfo".into());
    // An absolute path stays as it is.
    (!name.is_empty()).then(|| Path::new(&directory).join(OsStr::from_bytes(name)))
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
    fn the_kept_second_is_not_used_for_another() {
        let mut clock = Rfc3339::default();
        for wall_ns in [5 * SECOND, 5 * SECOND + 1, 6 * SECOND, 5 * SECOND] {
            let mut out = Vec::new();
            clock.write(&mut out, wall_ns);
            assert_eq!(String::from_utf8(out).unwrap(), rfc3339(wall_ns));
        }
    }

    /// Hour, minute and second as the C library has them.
    fn of_the_c_library(second: i64) -> (i32, i32, i32) {
        let time: libc::time_t = second;
        // SAFETY: an all-zero `tm` is a valid one: integers and a null pointer.
        let mut parts: libc::tm = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are valid for the call; localtime_r keeps neither.
        assert!(!unsafe { libc::localtime_r(&raw const time, &raw mut parts) }.is_null());
        (parts.tm_hour, parts.tm_min, parts.tm_sec)
    }

    #[test]
    fn local_times_are_those_of_the_c_library() {
        let mut time = TimeOfDay::new(false);
        // Half a day apart through forty years, so that it meets every change of summer time.
        for second in (0..1_262_304_000).step_by(43_200).map(|second| second + 946_684_800) {
            let wall_ns = second * SECOND + 123_456_789;
            let mut own = Vec::new();
            time.write(&mut own, wall_ns);
            let (hour, minute, second) = of_the_c_library(second);
            assert_eq!(String::from_utf8(own).unwrap(), format!("{hour:02}:{minute:02}:{second:02}.123"));
        }
        let mut utc = Vec::new();
        TimeOfDay::new(true).write(&mut utc, 1_709_210_096_123_456_789);
        assert_eq!(utc, b"12:34:56.123");
        assert_eq!(utc.len(), TimeOfDay::WIDTH);
    }

    #[test]
    fn only_a_small_regular_file_is_read() {
        let kind = |path: &str| read_bounded(Path::new(path)).map_err(|error| error.kind());
        assert_eq!(kind("/dev/zero"), Err(ErrorKind::InvalidInput));
        assert_eq!(kind("/"), Err(ErrorKind::InvalidInput));
        assert_eq!(kind("/there/is/no/such/file"), Err(ErrorKind::NotFound));
        let large = env::temp_dir().join(format!("tracer-zone-{}", std::process::id()));
        File::create(&large).and_then(|file| file.set_len(1 << 40)).unwrap();
        assert_eq!(kind(large.to_str().unwrap()), Err(ErrorKind::FileTooLarge));
        std::fs::remove_file(large).unwrap();
    }

    #[test]
    fn a_rule_changes_the_time_as_a_file_does() {
        for rule in ["CET-1CEST,M3.5.0,M10.5.0/3", "CET-1CEST"] {
            let zone = by_rule(rule).unwrap();
            for (second, hour) in [(1_704_067_200, 1), (1_719_792_000, 2)] {
                assert_eq!(i32::from(civil(&zone, second).hour()), hour, "{rule}");
            }
        }
        let without = by_rule("EST5").unwrap();
        assert_eq!(i32::from(civil(&without, 1_719_792_000).hour()), 19);
        assert!(by_rule("Europe/Nowhere").is_none());
    }

    #[test]
    fn times_of_any_clock_are_written() {
        for wall_ns in [i64::MIN, i64::MAX] {
            assert_eq!(rfc3339(wall_ns).len(), "1970-01-01T00:00:00.000000000Z".len());
        }
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
