//! Further subflows of MPTCP: a kernel worker or the path-managing daemon opens them, and no accept() returns them.
//! They belong to the owner of the first subflow.

use tracer_common::{
    record::{FLAG_FILTERED, FLAG_JOINED, SocketState},
    settings::ABSENT,
};

use crate::{identity, memory, offset, sock::Sock, sockets::SOCKETS};

/// Marks a socket that has joined another socket's connection, and returns that socket's number. `None` if it
/// has not joined one.
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
    // A socket older than the trace has a number made from its address.
    let mut number = identity::of_socket(first);
    if let Some(known) = SOCKETS.get_ptr(first) {
        // SAFETY: a live map value.
        let known = unsafe { &*known };
        state.flags |= known.flags & FLAG_FILTERED;
        number = known.id;
    }
    Some(number)
}
