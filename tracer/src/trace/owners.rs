//! Finds the acceptor of a connection if accept() is not hooked, and the port that the kernel chose for an unbound
//! listener: by a look at the tables and at the holders of files, rarely enough to be cheap.

use std::time::Duration;

use log::debug;
use tracer_common::record::Tuple;

use crate::{
    clock,
    core::{Holders, question::Answer},
    proc::root::ProcRoot,
    readers::Readers,
    snapshot,
};

/// The shortest pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// The pause is also at least this multiple of the last look's duration.
const SHARE: u32 = 20;

/// The pause after a look that took this long.
pub fn pause(took: Duration) -> Duration {
    PAUSE.max(took * SHARE)
}

/// One look.
pub fn look(root: &ProcRoot, readers: &Readers, tuples: &[Tuple], unbound: &[u64]) -> Answer {
    let began_ns = clock::boot_ns();
    let found = snapshot::holders_of(root, readers, tuples, unbound);
    debug!("looked for owners: {} sockets found", found.sockets.len());
    for socket in &found.sockets {
        let Tuple { lport, rport, .. } = socket.tuple;
        debug!("the connection at port {lport} from port {rport} is held by {:?}", socket.holders);
    }
    Answer::Owners { processes: found.processes, holders: Holders { began_ns, sockets: found.sockets } }
}
