//! The size of a map with one note per task.

use std::{fs, ops::RangeInclusive, path::Path};

/// A free place costs sixteen bytes; notes without room are counted.
const BOUNDS: RangeInclusive<u32> = 1 << 14..=1 << 18;

/// The largest number of tasks at a time, within bounds. `sysctls` is `/proc/sys/kernel`.
///
/// A map of this size, with one note per task, is never full, however many tasks are started.
#[must_use]
pub fn room(sysctls: &Path) -> u32 {
    let tasks = fs::read_to_string(sysctls.join("threads-max")).ok().and_then(|text| text.trim().parse().ok());
    tasks.unwrap_or(*BOUNDS.start()).clamp(*BOUNDS.start(), *BOUNDS.end())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_every_task_of_this_machine() {
        let most: u32 = fs::read_to_string("/proc/sys/kernel/threads-max").unwrap().trim().parse().unwrap();
        assert_eq!(room(Path::new("/proc/sys/kernel")), most.clamp(1 << 14, 1 << 18));
        assert_eq!(room(Path::new("/nowhere")), 1 << 14);
    }
}
