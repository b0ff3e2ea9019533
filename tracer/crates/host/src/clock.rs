//! The two clocks of the stream, read once each.

use std::{fs, sync::OnceLock};

use rustix::time::{ClockId, clock_getres, clock_gettime};

fn read(clock: ClockId) -> i128 {
    let time = clock_gettime(clock);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

/// `CLOCK_BOOTTIME` as in the kernel's records, ns: a process in a time namespace of its own reads another value.
#[must_use]
pub fn boot_ns() -> u64 {
    u64::try_from(kernels_own()).unwrap_or(0)
}

fn kernels_own() -> i128 {
    read(ClockId::Boottime) - i128::from(namespace_offset_ns())
}

/// How far `CLOCK_BOOTTIME`, and the start of processes in /proc, are ahead of the kernel's own clock in our time
/// namespace, ns. It is fixed before the first process enters the namespace.
#[must_use]
pub fn namespace_offset_ns() -> i64 {
    static OFFSET: OnceLock<i64> = OnceLock::new();
    *OFFSET.get_or_init(|| {
        // The file describes the namespace of our children.
        let link = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).ok();
        if link("time") != link("time_for_children") {
            return 0;
        }
        fs::read_to_string("/proc/self/timens_offsets").ok().and_then(|text| boottime_offset(&text)).unwrap_or(0)
    })
}

/// The offset in a /proc/PID/timens_offsets: lines of clock (its name; before 5.7 its number), seconds,
/// nanoseconds (time_namespaces(7)).
fn boottime_offset(text: &str) -> Option<i64> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        if !matches!(words.next()?, "boottime" | "7") {
            return None;
        }
        let (seconds, nanoseconds): (i64, i64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
    })
}

/// The difference between the wall clock and the boot time, ns.
#[must_use]
pub fn wall_offset_ns() -> i64 {
    // Between two readings of the other clock: half of the difference is the error.
    let before = kernels_own();
    let wall = read(ClockId::Realtime);
    let after = kernels_own();
    i64::try_from(wall - i128::midpoint(before, after)).unwrap_or(0)
}

/// Length of the kernel's tick (jiffy), ns, the resolution of its coarse clocks; `None` if they report an impossible
/// one.
#[must_use]
pub fn tick_ns() -> Option<u32> {
    let length = clock_getres(ClockId::MonotonicCoarse);
    // CONFIG_HZ is 24 to 1200, by architecture.
    u32::try_from(length.tv_nsec).ok().filter(|ns| length.tv_sec == 0 && (500_000..50_000_000).contains(ns))
}

/// CPU time that this process has used, in seconds, and its largest resident set, in bytes.
#[must_use]
pub fn own_cost() -> (f64, u64) {
    // SAFETY: a structure of integers: zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: a valid structure.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    let microseconds = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
    #[expect(clippy::cast_precision_loss, reason = "microseconds of CPU time are far below 2^52")]
    let seconds = (microseconds(usage.ru_utime) + microseconds(usage.ru_stime)) as f64 / 1e6;
    (seconds, peak_resident().unwrap_or(0))
}

/// Not `ru_maxrss`: a process inherits that from its parent.
fn peak_resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_of_a_time_namespace() {
        for (text, offset) in [
            ("monotonic           0         0\nboottime         1000         5\n", Some(1_000_000_000_005)),
            ("monotonic           3         0\nboottime           -2 500000000\n", Some(-1_500_000_000)),
            ("1 0 0\n7 86400 0\n", Some(86_400_000_000_000)),
            ("monotonic 0 0\n", None),
            ("boottime 9223372036854775807 0\n", None),
            ("boottime\n", None),
            ("", None),
        ] {
            assert_eq!(boottime_offset(text), offset, "{text:?}");
        }
    }

    #[test]
    fn the_tick_is_the_kernels() {
        let tick = tick_ns();
        let hertz = tick.map(|ns| (1_000_000_000 + ns / 2) / ns);
        assert!([24, 48, 100, 128, 250, 256, 300, 1000, 1024, 1200].map(Some).contains(&hertz), "{tick:?}");
    }

    #[test]
    fn the_wall_clock_is_the_boot_time_and_the_offset() {
        let (boot, offset, wall) = (boot_ns(), wall_offset_ns(), read(ClockId::Realtime));
        let told = i128::from(boot) + i128::from(offset);
        assert!((wall - told).abs() < 1_000_000_000, "{wall} {told}");
    }
}
