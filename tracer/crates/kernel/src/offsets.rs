//! Fills [`Offsets`] from the running kernel, and names the missing ones.
//!
//! The table of `tracer-common/src/offsets.rs` says where each of them is. This file has what no table can say, and no
//! numbers.

use std::collections::HashMap;

use tracer_common::offsets::{ABSENT, Offsets, Source};

use super::{
    btf::Btf,
    format::{Format, Tracefs},
};

/// Types that the agent reads beside those of [`Offsets`].
const FURTHER: &[&str] = &[
    "bpf_mem_alloc",
    "class_srcu_fast_notrace_t",
    "bpf_func_id",
    "btf_trace_io_uring_complete",
    "mptcp_subflow_context",
    "skb_drop_reason",
    "skb_drop_reason_subsys",
    "mac80211_drop_reason",
    "ovs_drop_reason",
    "qdisc_drop_reason",
    "sk_rst_reason",
];

/// The names that [`Btf`] has to index for [`resolve`].
#[must_use]
pub fn wanted() -> Vec<&'static str> {
    let mut names = FURTHER.to_vec();
    for field in Offsets::FIELDS {
        match field.source {
            Source::Member(name, _)
            | Source::Mask(name, _)
            | Source::Either(name, ..)
            | Source::Enumerator(name, _)
            | Source::Parameters(name)
            | Source::Arguments(name) => names.push(name),
            Source::IfAny(members) => names.extend(members.iter().map(|(name, _)| name)),
            Source::Beyond(first, _, second, _) => names.extend([first, second]),
            Source::Helper(_) | Source::Format(..) | Source::Other(_) => {}
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// The offsets, and the members that this kernel lacks (`structure.member`).
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The offsets for the object.
    pub offsets: Offsets,
    /// The members that were not found.
    pub missing: Vec<String>,
    /// Hash maps may be allocated on demand from tracing programs.
    pub maps_on_demand: bool,
    /// See `Settings::tracepoints_preemptible`.
    pub tracepoints_preemptible: bool,
}

/// The loss on a kernel without `member` (one of [`Resolved::missing`]).
#[must_use]
pub fn cost_of(member: &str) -> &'static str {
    match member {
        // Before 5.6, and without its configuration option.
        "mptcp_sock.first" | "tcp_sock.is_mptcp" => {
            "nothing, if this kernel has no MPTCP: else its subflows have no owner"
        }
        "mptcp_subflow_context.conn" | "mptcp_subflow_context.mp_join" | "inet_connection_sock.icsk_ulp_data" => {
            "nothing, if this kernel has no MPTCP: else its further subflows have no owner"
        }
        "tcp_sock.tsorted_sent_queue" => "by which of several listeners of one port a connection came in",
        // Before 5.19.
        "io_connect.in_progress" | "io_uring_complete(req)" => {
            "who accepts through io_uring (the listener's owner stays), and why connect() through it fails without a SYN"
        }
        _ => "the value read there shows as unknown",
    }
}

/// Looks everything up. Without BTF only the contents of the `format` files are known.
#[must_use]
pub fn resolve(btf: Option<&Btf>, tracefs: Option<&Tracefs>) -> Resolved {
    let mut resolved =
        Resolved { offsets: Offsets::NONE, missing: Vec::new(), maps_on_demand: false, tracepoints_preemptible: false };
    if let Some(btf) = btf {
        from_btf(btf, &mut resolved);
        // Before 6.1 (commit fba1a1c6c912 and those around it) the verifier warns in the kernel's log of maps that grow
        // in a tracing program, and they could deadlock.
        resolved.maps_on_demand = btf.has("bpf_mem_alloc");
        // 7.0 guards the calls of a tracepoint's programs by SRCU instead of disabling preemption
        // (include/linux/tracepoint.h); the guard has a type of its own.
        resolved.tracepoints_preemptible = btf.has("class_srcu_fast_notrace_t");
    }
    if let Some(tracefs) = tracefs {
        from_formats(|category, name| tracefs.format(category, name).ok().flatten(), &mut resolved.offsets);
    }
    resolved
}

/// The first difference between `file` and `kernel`, the running kernel's own types: name, offset there, offset here.
/// An offset that the file lacks is no difference.
#[must_use]
pub fn contradiction(file: &Btf, kernel: &Btf) -> Option<(&'static str, u32, u32)> {
    let (file, kernel) = (resolve(Some(file), None).offsets, resolve(Some(kernel), None).offsets);
    Offsets::FIELDS
        .iter()
        .map(|field| (field.name, (field.get)(&file), (field.get)(&kernel)))
        .find(|(_, there, here)| *there != ABSENT && there != here)
}

fn from_btf(btf: &Btf, resolved: &mut Resolved) {
    let Resolved { offsets, missing, .. } = resolved;
    let offset = |structure, path| btf.member(structure, path).map(|member| member.byte_offset());
    for field in Offsets::FIELDS {
        let (value, is_missed) = match field.source {
            Source::Member(structure, path) => (offset(structure, path), true),
            Source::Mask(structure, path) => (btf.member(structure, path).map(|member| member.mask()), false),
            Source::IfAny(members) => (members.iter().find_map(|(structure, path)| offset(structure, path)), false),
            Source::Either(structure, new, old) => (offset(structure, new).or_else(|| offset(structure, old)), true),
            Source::Beyond(first, path, second, member) => {
                (offset(first, path).zip(offset(second, member)).map(|(begin, beyond)| begin + beyond), true)
            }
            Source::Helper(name) => (btf.enumerator("bpf_func_id", name).map(|_| 1), false),
            Source::Enumerator(kind, name) => {
                (btf.enumerator(kind, name).and_then(|value| u32::try_from(value).ok()), true)
            }
            Source::Parameters(function) => (btf.parameters(function), true),
            Source::Arguments(kind) => {
                let tracepoint = kind.trim_start_matches("btf_trace_");
                (btf.tracepoint_arguments(tracepoint).and_then(|list| u32::try_from(list.len()).ok()), false)
            }
            Source::Format(..) | Source::Other(_) => continue,
        };
        if value.is_none() && is_missed {
            missing.push(field.source.to_string());
        }
        (field.set)(offsets, value.unwrap_or(ABSENT));
    }
    if !joined_subflow(btf, offsets) {
        missing.push("mptcp_subflow_context.mp_join".to_owned());
    }
    if !completed_request(btf, offsets) {
        missing.push("io_uring_complete(req)".to_owned());
    }
}

/// Finds the two bits of a further subflow; whether they lie in one byte.
fn joined_subflow(btf: &Btf, offsets: &mut Offsets) -> bool {
    // Bit fields, next to one another in every kernel that has them.
    let join = ["request_join", "mp_join"].map(|name| btf.member("mptcp_subflow_context", name));
    let [Some(request), Some(mp)] = join else { return false };
    if request.byte_offset() != mp.byte_offset() {
        return false;
    }
    offsets.subflow_join = request.byte_offset();
    offsets.subflow_join_mask = 1 << (request.bit_offset % 8) | 1 << (mp.bit_offset % 8);
    true
}

/// Finds how `io_uring_complete` reports the result; whether it names the request.
fn completed_request(btf: &Btf, offsets: &mut Offsets) -> bool {
    // (ctx, req, cqe) from 6.14; (ctx, req, user_data, res, …) from 5.19; (ctx, user_data, res, …)
    // before, which does not name the request at all.
    match btf.tracepoint_arguments("io_uring_complete").as_deref() {
        Some([_, _, "io_uring_cqe", ..]) => offsets.io_complete_has_cqe = 1,
        Some([_, _, _, _, ..]) if btf.member("io_kiocb", "cqe").is_some() => offsets.io_complete_has_cqe = 0,
        _ => return false,
    }
    true
}

fn from_formats(format: impl Fn(&str, &str) -> Option<Format>, offsets: &mut Offsets) {
    let mut formats = HashMap::new();
    for field in Offsets::FIELDS {
        if let Source::Format(category, name, member) = field.source {
            let format = formats.entry((category, name)).or_insert_with(|| format(category, name));
            (field.set)(offsets, format.as_ref().and_then(|format| format.offset(member)).unwrap_or(ABSENT));
        }
    }
}
