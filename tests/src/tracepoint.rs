//! The kernel's own count of a tracepoint's hits (`perf_event_open`), for comparison with the stream.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::FromRawFd as _;
use std::path::Path;

use crate::errno;

const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 1 << 3;
/// `PERF_ATTR_SIZE_VER0`.
const ATTRIBUTES: u32 = 64;

/// The first version of `struct perf_event_attr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint: u32,
    config1: u64,
}

const _: () = assert!(size_of::<Attributes>() == ATTRIBUTES as usize);

/// Counts the hits of one tracepoint on all CPUs, in all contexts, from its creation on.
pub struct Hits {
    cpus: Vec<File>,
}

impl Hits {
    /// Begins counting.
    ///
    /// # Panics
    /// If the kernel refuses (no tracefs, no `CONFIG_PERF_EVENTS`, not root).
    #[must_use]
    pub fn of(category: &str, name: &str) -> Self {
        let path = format!("/sys/kernel/tracing/events/{category}/{name}/id");
        if !Path::new("/sys/kernel/tracing/events").exists() {
            crate::netns::command("mount", &["-t", "tracefs", "tracefs", "/sys/kernel/tracing"]);
        }
        let id = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let id = id.trim().parse().expect("an id is a number");
        Self { cpus: online().into_iter().map(|cpu| open(id, cpu)).collect() }
    }

    /// The number of hits so far.
    ///
    /// # Panics
    /// If the kernel gives no answer.
    #[must_use]
    pub fn count(&self) -> u64 {
        let one = |mut file: &File| {
            let mut count = [0; 8];
            assert_eq!(file.read(&mut count).expect("a counter is read"), 8);
            u64::from_ne_bytes(count)
        };
        self.cpus.iter().map(one).sum()
    }
}

fn open(id: u64, cpu: u32) -> File {
    let attributes = Attributes { kind: PERF_TYPE_TRACEPOINT, size: ATTRIBUTES, config: id, ..Default::default() };
    // Every task (-1) on this CPU, in no group (-1).
    // SAFETY: the pointer is to a live value of at least the size that it says.
    let fd =
        unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0);
    let fd = fd.unwrap_or_else(|| panic!("perf_event_open on CPU {cpu}: {}", errno::name(errno::last())));
    // SAFETY: the descriptor was just made and has no other owner.
    unsafe { File::from_raw_fd(fd) }
}

/// The CPUs that are online: `0-3,5`.
fn online() -> Vec<u32> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").expect("the kernel tells its CPUs");
    let number = |text: &str| -> u32 { text.parse().expect("a CPU is a number") };
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        number(first)..=number(last)
    };
    text.trim().split(',').flat_map(range).collect()
}
