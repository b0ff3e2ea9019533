//! Compares two pictures of the same namespace.

use std::collections::HashMap;

use super::Picture;
use crate::proc::net::dev::COLUMNS;

/// How far a counter moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// By this amount.
    By(u64),
    /// The counter is lower than before and did not wrap: it began again. How far it moved is unknown.
    Reset,
}

impl Change {
    /// Returns the amount; 0 if it is unknown.
    #[must_use]
    pub const fn amount(self) -> u64 {
        match self {
            Self::By(amount) => amount,
            Self::Reset => 0,
        }
    }
}

/// Compares two values of a counter as wide as the kernel's `unsigned long` or `u64`. A 32-bit
/// counter (a 32-bit kernel, some drivers) wraps: a fall from the upper half of 32 bits into the
/// lower half counts as a wrap.
#[must_use]
pub const fn change(before: u64, now: u64) -> Change {
    const HALF: u64 = 1 << 31;
    if now >= before {
        Change::By(now - before)
    } else if before >= HALF && before < HALF * 2 && now < HALF && now + HALF * 2 - before < HALF {
        Change::By(now + HALF * 2 - before)
    } else if before >= 1 << 63 && now < 1 << 63 && now.wrapping_sub(before) < 1 << 63 {
        Change::By(now.wrapping_sub(before))
    } else {
        Change::Reset
    }
}

/// Compares two values of a counter that has 32 bits on every kernel: a lower value means a wrap.
#[must_use]
pub const fn change32(before: u32, now: u32) -> u64 {
    now.wrapping_sub(before) as u64
}

/// Names in snmp and netstat that are not counters.
const GAUGES: [&str; 7] =
    ["IpForwarding", "IpDefaultTTL", "TcpRtoAlgorithm", "TcpRtoMin", "TcpRtoMax", "TcpMaxConn", "TcpCurrEstab"];

/// Whether `name` counts events, rather than reports a current amount.
#[must_use]
pub fn is_counter(name: &str) -> bool {
    !GAUGES.contains(&name)
}

/// Whether a device came, stayed or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The device is in both pictures.
    Stayed,
    /// The device was absent before, or another device had its name: its counters began at 0.
    Appeared,
    /// The device is gone.
    Vanished,
}

/// A device and how its counters moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceChange {
    /// Its name. Hostile bytes.
    pub name: String,
    /// Whether it came, stayed or went.
    pub presence: Presence,
    /// In the order of [`COLUMNS`].
    pub counters: [Change; 16],
}

impl DeviceChange {
    /// Returns how far the counter `column` moved; 0 if no column has that name.
    #[must_use]
    pub fn counter(&self, column: &str) -> u64 {
        COLUMNS
            .iter()
            .zip(self.counters)
            .find_map(|(name, change)| (*name == column).then_some(change.amount()))
            .unwrap_or(0)
    }
}

/// How all counters of a picture moved.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The time between the two pictures, seconds.
    pub seconds: f64,
    /// Devices: the present ones in their order, then the vanished ones.
    pub devices: Vec<DeviceChange>,
    /// Counters that are in both pictures and moved, in the order of the later one.
    pub counters: Vec<(String, Change)>,
    /// Processed, dropped and time squeezes of all CPUs.
    pub softnet: [u64; 3],
    /// Counters of the tables in `stat/` that moved.
    pub percpu: Vec<(&'static str, String, u64)>,
}

/// Compares two pictures of one namespace.
#[must_use]
pub fn changes(before: &Picture, now: &Picture) -> Changes {
    let nanoseconds = now.boot_ns.saturating_sub(before.boot_ns);
    #[expect(clippy::cast_precision_loss, reason = "an interval is far below 2^52 ns")]
    let seconds = nanoseconds as f64 / 1e9;
    let old: HashMap<&str, i128> = before.counters.iter().map(|c| (c.name.as_str(), c.value)).collect();
    let counters = now
        .counters
        .iter()
        .filter(|counter| is_counter(&counter.name))
        .filter_map(|counter| {
            let old = u64::try_from(*old.get(counter.name.as_str())?).ok()?;
            let change = change(old, u64::try_from(counter.value).ok()?);
            (change != Change::By(0)).then(|| (counter.name.clone(), change))
        })
        .collect();
    Changes {
        seconds,
        devices: devices(before, now),
        counters,
        softnet: softnet(before, now),
        percpu: percpu(before, now),
    }
}

fn devices(before: &Picture, now: &Picture) -> Vec<DeviceChange> {
    let stayed = |interface: &super::Interface| {
        // The same name with another index is another device.
        before.interfaces.iter().find(|old| {
            old.name == interface.name
                && (old.ifindex().is_none() || interface.ifindex().is_none() || old.ifindex() == interface.ifindex())
        })
    };
    let mut devices: Vec<DeviceChange> = now
        .interfaces
        .iter()
        .map(|interface| {
            let (presence, old) = match stayed(interface) {
                Some(old) => (Presence::Stayed, old.counters),
                None => (Presence::Appeared, [0; 16]),
            };
            let mut counters = [Change::By(0); 16];
            for ((to, old), now) in counters.iter_mut().zip(old).zip(interface.counters) {
                *to = change(old, now);
            }
            DeviceChange { name: interface.name.clone(), presence, counters }
        })
        .collect();
    for old in &before.interfaces {
        if !now.interfaces.iter().any(|interface| interface.name == old.name) {
            let counters = [Change::Reset; 16];
            devices.push(DeviceChange { name: old.name.clone(), presence: Presence::Vanished, counters });
        }
    }
    devices
}

/// Adds up the CPUs that are in both pictures: a CPU that is offline keeps its counters, but the file leaves it out.
fn softnet(before: &Picture, now: &Picture) -> [u64; 3] {
    let mut sums = [0; 3];
    for (place, cpu) in now.softnet.iter().enumerate() {
        let old = match cpu.cpu {
            Some(number) => before.softnet.iter().find(|old| old.cpu == Some(number)),
            None => before.softnet.get(place).filter(|_| before.softnet.len() == now.softnet.len()),
        };
        if let Some(old) = old {
            let pairs = [
                (old.processed(), cpu.processed()),
                (old.dropped(), cpu.dropped()),
                (old.time_squeeze(), cpu.time_squeeze()),
            ];
            for (sum, (old, now)) in sums.iter_mut().zip(pairs) {
                *sum += change32(old, now);
            }
        }
    }
    sums
}

fn percpu(before: &Picture, now: &Picture) -> Vec<(&'static str, String, u64)> {
    let mut moved = Vec::new();
    for (name, table) in &now.percpu {
        let Some(old) =
            before.percpu.get(name).filter(|old| old.names == table.names && old.cpus.len() == table.cpus.len())
        else {
            continue;
        };
        for (at, column) in table.names.iter().enumerate().filter(|(_, column)| *column != "entries") {
            let sum: u64 = old
                .cpus
                .iter()
                .zip(&table.cpus)
                .filter_map(|(old, now)| Some(change32(*old.get(at)?, *now.get(at)?)))
                .sum();
            if sum > 0 {
                moved.push((*name, column.clone(), sum));
            }
        }
    }
    moved
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
