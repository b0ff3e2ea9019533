//! The two clocks of the stream, read once each.

use rustix::time::{ClockId, clock_gettime};

fn read(clock: ClockId) -> i128 {
    let time = clock_gettime(clock);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

/// `CLOCK_BOOTTIME`, ns.
#[must_use]
pub fn boot_ns() -> u64 {
    u64::try_from(read(ClockId::Boottime)).unwrap_or(0)
}

/// What to add to a boot time to get the wall clock's, ns.
#[must_use]
pub fn wall_offset_ns() -> i64 {
    // Between two readings of the other clock: half of the difference is the error.
    let before = read(ClockId::Boottime);
    let wall = read(ClockId::Realtime);
    let after = read(ClockId::Boottime);
    i64::try_from(wall - i128::midpoint(before, after)).unwrap_or(0)
}

/// CPU time that this process has used, in seconds, and its largest resident set, in bytes.
#[must_use]
pub fn own_cost() -> (f64, u64) {
    // SAFETY: a structure of integers: zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: a valid structure.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    let seconds = |time: libc::timeval| {
        #[expect(clippy::cast_precision_loss, reason = "seconds of CPU time are far below 2^52")]
        let seconds = time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        seconds
    };
    (seconds(usage.ru_utime) + seconds(usage.ru_stime), peak_resident().unwrap_or(0))
}

/// Not `ru_maxrss`: that one is inherited from whoever started us.
fn peak_resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}
