//! Finds the acceptor of a connection if accept() is not hooked, and the port that the kernel chose for an unbound
//! listener: by a look at the tables and at the holders of files. It runs in another thread, and rarely enough to be
//! cheap. Where accept() is hooked the core asks for nothing, and nothing is done.

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

/// The shortest pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// The pause is also at least this multiple of the last look's duration.
const SHARE: u32 = 20;

/// The result of one look.
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
    /// Starts a look, if the core wants one and the last look is long enough ago.
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

    /// Waits for the current look; forever if there is none. Cancel safe.
    pub async fn found(&mut self) -> Option<Found> {
        match &mut self.looking {
            Some((_, receive)) => receive.await.ok(),
            None => std::future::pending().await,
        }
    }

    /// Passes on the result of [`Acceptors::found`].
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
