//! Who has accepted a connection, where accept() is not hooked, and which port the kernel chose for a listener that
//! nobody had bound: a look at the tables, and at who holds the file. In
//! another thread, and seldom enough that it costs little. Where accept() is hooked the core asks
//! for nothing, and nothing is done.

use std::time::{Duration, Instant};

use log::debug;
use tokio::sync::oneshot;
use tracer_common::record::Tuple;

use super::{Nowhere, namespaces::Namespaces};
use crate::{
    clock,
    core::{Core, Gate, Holders, Input},
    proc::root::ProcRoot,
    readers::Readers,
    snapshot::{self, Snapshot},
    stream::Sink,
};

/// Between two looks there is at least this time,
const PAUSE: Duration = Duration::from_millis(50);
/// and so many times as long as the last one took.
const SHARE: u32 = 20;

/// What one look has found.
#[derive(Debug)]
pub struct Found {
    began_ns: u64,
    snapshot: Snapshot,
}

/// The looks.
#[derive(Debug, Default)]
pub struct Acceptors {
    looking: Option<(Instant, oneshot::Receiver<Found>)>,
    not_before: Option<Instant>,
}

impl Acceptors {
    /// Starts a look, if the core wants to know and the last look is long enough ago.
    pub fn look<G: Gate>(&mut self, core: &mut Core<G>, root: &ProcRoot, readers: &Readers, namespaces: &Namespaces) {
        let now = Instant::now();
        if self.looking.is_some() || self.not_before.is_some_and(|instant| now < instant) {
            return;
        }
        let (tuples, unbound) = (core.unowned(), core.unbound());
        if tuples.is_empty() && unbound.is_empty() {
            return;
        }
        let (send, receive) = oneshot::channel();
        let (root, readers) = (root.clone(), readers.clone());
        namespaces.give(move || {
            let began_ns = clock::boot_ns();
            let found = Found { began_ns, snapshot: snapshot::holders_of(&root, &readers, &tuples, &unbound) };
            // The receiver is gone if the trace ended first.
            let _ = send.send(found);
        });
        self.looking = Some((now, receive));
    }

    /// Waits for the look that is under way; for ever if there is none. Cancel safe.
    pub async fn found(&mut self) -> Option<Found> {
        match &mut self.looking {
            Some((_, receive)) => receive.await.ok(),
            None => std::future::pending().await,
        }
    }

    /// Hands over what [`Acceptors::found`] has given.
    pub fn tell<G: Gate>(&mut self, found: Option<Found>, core: &mut Core<G>, sink: &mut dyn Sink) {
        let Some((began, _)) = self.looking.take() else { return };
        let took = began.elapsed();
        self.not_before = Some(Instant::now() + PAUSE.max(took * SHARE));
        let Some(Found { began_ns, snapshot }) = found else { return };
        debug!("looked for owners in {took:?}: {} sockets found", snapshot.sockets.len());
        for socket in &snapshot.sockets {
            let Tuple { lport, rport, .. } = socket.tuple;
            debug!("the connection at port {lport} from port {rport} is held by {:?}", socket.holders);
        }
        for process in snapshot.processes {
            core.apply(Input::Process(process), &mut Nowhere);
        }
        core.apply(Input::Holders(Holders { began_ns, sockets: snapshot.sockets }), sink);
    }
}
