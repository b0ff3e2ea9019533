//! The followed sockets.

use aya_ebpf::{bindings::BPF_F_NO_PREALLOC, macros::map, maps::HashMap};
use tracer_common::record::SocketState;

/// The state of every followed socket, by the address of its `struct sock`.
///
/// A hash and not socket storage: accept() returns through a program type that may not touch socket storage
/// (docs/kernel.md, "State of a socket"). A new socket at the same address inherits nothing: the entry goes when the
/// socket closes, at the latest in `tcp_destroy_sock`, before the kernel can reuse the memory. If the programs miss
/// both, it goes when the next socket begins there (`lifecycle::close::end_predecessor`).
#[map]
pub static SOCKETS: HashMap<u64, SocketState> = HashMap::with_max_entries(1 << 18, BPF_F_NO_PREALLOC);
