//! Sockets in a map of sockets.

use aya_ebpf::helpers::bpf_probe_read_user;
use tracer_common::record::FLAG_SOCKMAP;

use crate::{fd, memory, offset, sockets::SOCKETS, started::started};

/// The beginning of `union bpf_attr` of `BPF_MAP_UPDATE_ELEM`: the map, the place of the key, the place of the value.
type Update = [u64; 3];

/// Marks the socket at `sk` as put into a map. Ignores a socket without an entry, which is older than the trace.
#[inline(always)]
pub fn put_into_map(sk: u64) {
    if started()
        && let Some(known) = SOCKETS.get_ptr_mut(sk)
    {
        // SAFETY: a live map value. accept() writes flags too, but before any process has a descriptor to put into a
        // map (sock_ops programs have the socket before that: then one of two bits may be lost).
        unsafe { (*known).flags |= FLAG_SOCKMAP };
    }
}

/// Handles a successful `BPF_MAP_UPDATE_ELEM` with the attributes at `place` in the caller's memory. If the value is
/// the descriptor of a socket with `sk_user_data`, which a map of sockets sets, the map was such a map.
#[inline(always)]
pub fn put_into_map_by_call(place: u64) {
    // SAFETY: the helper checks the address.
    let Ok(update) = (unsafe { bpf_probe_read_user(place as *const Update) }) else { return };
    // The value has four or eight bytes.
    // SAFETY: as above.
    let Ok(number) = (unsafe { bpf_probe_read_user(update[2] as *const u32) }) else { return };
    if let Some(socket) = fd::socket(number) {
        let sk = socket.tcp();
        if memory::read::<u64>(sk, offset!(sk_user_data)) != 0 {
            put_into_map(sk);
        }
    }
}
