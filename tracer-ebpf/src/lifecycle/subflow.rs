//! Further subflows of MPTCP: a worker of the kernel, or the daemon that manages paths, opens them, and no accept()
//! returns them. They belong to who has the first one.

use tracer_common::{
    record::{FLAG_FILTERED, FLAG_JOINED, SocketState},
    settings::ABSENT,
};

use crate::{identity, maps::SOCKETS, memory, offset, sock::Sock};

/// Marks a socket that has joined the connection of another one. `None` if it has not; else the number of
/// that other one.
#[inline(always)]
pub fn join<S: Sock>(sock: S, state: &mut SocketState) -> Option<u64> {
    if !sock.is_mptcp() || offset!(subflow_conn) == ABSENT || offset!(subflow_join) == ABSENT {
        return None;
    }
    let context = sock.u64(offset!(icsk_ulp_data));
    let joins: u8 = memory::read(context, offset!(subflow_join));
    if u32::from(joins) & offset!(subflow_join_mask) == 0 {
        return None;
    }
    let connection: u64 = memory::read(context, offset!(subflow_conn));
    let first: u64 = memory::read(connection, offset!(mptcp_first));
    state.flags |= FLAG_JOINED;
    state.parent = super::inode(crate::sock::Raw(connection)) as u32;
    // An older one is named by its address.
    let mut number = identity::of_socket(first);
    if let Some(known) = SOCKETS.get_ptr(first) {
        // SAFETY: a live map value.
        let known = unsafe { &*known };
        state.flags |= known.flags & FLAG_FILTERED;
        number = known.id;
    }
    Some(number)
}
