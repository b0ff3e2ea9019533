//! Calls that the kernel keeps from kprobes and kretprobes before any program runs.
//!
//! A kretprobe remembers every call under way, in as many places as it got when it was attached; any further call
//! returns unseen (threads that wait in accept() take one place each). `bpf_prog_info` does not count these, because no
//! program was due to run: `bpf_link_info` does, from 6.7 on (`missed` of `perf_event.kprobe`).

use std::{collections::HashMap, fs, os::fd::RawFd, path::Path};

use aya_obj::generated::{bpf_link_info, bpf_link_type, bpf_perf_event_type};

use super::info::info;

/// Calls that probes have missed, by the id of their program.
pub type Missed = HashMap<u32, u64>;

/// The misses of all probes that this process has attached. Empty if the kernel does not report them.
#[must_use]
pub fn missed() -> Missed {
    missed_of(Path::new("/proc/self/fd"))
}

fn missed_of(descriptors: &Path) -> Missed {
    let mut missed = Missed::new();
    for entry in fs::read_dir(descriptors).into_iter().flatten().flatten() {
        let is_link = fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().contains("bpf_link"));
        let fd = entry.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok());
        if let (true, Some(fd)) = (is_link, fd)
            && let Some((program, count)) = of_link(fd)
        {
            *missed.entry(program).or_default() += count;
        }
    }
    missed
}

/// Program and count, if the link is a probe's.
fn of_link(fd: RawFd) -> Option<(u32, u64)> {
    let link: bpf_link_info = info(fd)?;
    if link.type_ != bpf_link_type::BPF_LINK_TYPE_PERF_EVENT as u32 {
        return None;
    }
    // SAFETY: the type says which member of the union is there; all of it is integers, and zero where an
    // older kernel writes less.
    let event = unsafe { link.__bindgen_anon_1.perf_event };
    let probes = [bpf_perf_event_type::BPF_PERF_EVENT_KPROBE, bpf_perf_event_type::BPF_PERF_EVENT_KRETPROBE];
    if !probes.iter().any(|kind| *kind as u32 == event.type_) {
        return None;
    }
    // SAFETY: as above.
    Some((link.prog_id, unsafe { event.__bindgen_anon_1.kprobe.missed }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_is_attached_nothing_is_missed() {
        assert_eq!(missed(), Missed::new());
        assert_eq!(missed_of(Path::new("/nowhere")), Missed::new());
    }
}
