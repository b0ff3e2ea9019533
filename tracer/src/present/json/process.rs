//! The `process` event, and the keys that it shares with an owner.

use crate::stream::{Owner, ProcessFacts};

use super::{list, optional, optional_string, string};

/// Appends the keys of a `process` event.
pub fn write(out: &mut Vec<u8>, process: &Owner) {
    let facts = &*process.facts;
    optional(out, b",\"pid\":", Some(process.pid));
    optional(out, b",\"start_ns\":", process.start_ns);
    out.extend_from_slice(b",\"comm\":");
    string(out, &process.comm);
    out.extend_from_slice(b",\"exe\":");
    optional_string(out, facts.exe.as_deref());
    out.extend_from_slice(b",\"cmdline\":");
    match &facts.cmdline {
        Some(arguments) => list(out, arguments, |out, argument| string(out, argument)),
        None => out.extend_from_slice(b"null"),
    }
    if facts.cmdline_cut {
        out.extend_from_slice(b",\"cmdline_cut\":true");
    }
    optional(out, b",\"uid\":", process.real_uid);
    optional(out, b",\"euid\":", process.uid);
    write_place(out, facts);
}

/// Appends control group, container and unit.
pub fn write_place(out: &mut Vec<u8>, facts: &ProcessFacts) {
    out.extend_from_slice(b",\"cgroup\":");
    optional_string(out, facts.cgroup.as_deref());
    out.extend_from_slice(b",\"container\":");
    optional_string(out, facts.container.as_ref().map(|container| container.id.as_str()));
    if let Some(container) = &facts.container {
        out.extend_from_slice(b",\"container_runtime\":");
        string(out, container.runtime);
        if container.claimed {
            out.extend_from_slice(b",\"container_claimed\":true");
        }
    }
    out.extend_from_slice(b",\"unit\":");
    optional_string(out, facts.unit.as_deref());
}
