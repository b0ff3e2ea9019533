//! Finds the holder of the port that a bind() wanted. If it is a known listener, the event comes at once; else the
//! event waits until another thread has looked into the socket tables.

use std::{collections::VecDeque, rc::Rc};

use serde::{Deserialize, Serialize};
use tracer_common::record::SocketRecord;
use tracer_stream::{ConnId, Event, Kind, Owner, OwnerSource, Role, Sink, Socket};
use tracer_tables::bound::Bound;

use super::{Correlation, Gate, connection::Connection, listeners::plain};

/// `IPPROTO_UDP`.
const UDP: u64 = 17;
/// The most events that wait; above it, the oldest is emitted without a holder.
const MOST_WAITING: usize = 64;
/// The kernel gives inode numbers to each CPU in blocks of this size (`LAST_INO_BATCH`).
const BLOCK: u64 = 1024;

/// A port whose holder is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its number in the answer.
    pub number: u64,
    /// The namespace.
    pub netns: u32,
    /// A process in it.
    pub pid: Option<u32>,
    /// UDP, not TCP.
    pub udp: bool,
    /// The port.
    pub port: u16,
}

/// The sockets at a port with their holders, oldest first. Their processes are to be given before it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AtPort {
    /// See [`Port::number`].
    pub number: u64,
    /// The sockets.
    pub sockets: Vec<(Bound, Vec<u32>)>,
}

/// A bind() that failed.
struct Failed {
    number: u64,
    conn: ConnId,
    record: Box<SocketRecord>,
    owner: Option<Rc<Owner>>,
    asked: bool,
}

/// The failed bind() calls that wait for a holder.
#[derive(Default)]
pub struct Ports {
    waiting: VecDeque<Failed>,
    last: u64,
}

impl Failed {
    const fn is_udp(&self) -> bool {
        self.record.detail == UDP
    }

    fn socket(&self) -> Socket<'_> {
        Socket {
            proto: if self.is_udp() { "udp" } else { "tcp" },
            owner: self.owner.as_deref(),
            owner_source: if self.owner.is_some() { OwnerSource::Bind } else { OwnerSource::Unknown },
            ..Connection::socket_of(self.conn, &self.record.tuple, Role::Unknown)
        }
    }

    fn tell(&self, held_by: Option<&Owner>, sink: &mut dyn Sink) {
        let kind = Kind::Bind { errno: self.record.errno, held_by };
        sink.event(&Event { boot_ns: self.record.header.boot_ns, socket: Some(self.socket()), kind });
    }
}

impl<G: Gate> Correlation<G> {
    /// bind() failed.
    pub(super) fn bind_failed(&mut self, record: &SocketRecord, sink: &mut dyn Sink) {
        let conn = self.new_conn();
        let owner = self.processes.owner(&record.state.opener, record.header.boot_ns);
        let failed = Failed { number: 0, conn, record: Box::new(*record), owner, asked: false };
        if !self.gate.admit_finally(&failed.socket()) {
            self.filtered += 1;
            return;
        }
        // Without a port, the kernel was to choose one and had none left.
        let taken = record.errno == libc::EADDRINUSE && record.tuple.lport != 0 && record.tuple.netns != 0;
        let listener = self.listeners.holder(&record.tuple).filter(|_| taken && !failed.is_udp());
        if !taken || listener.is_some() {
            return failed.tell(listener.map(Rc::as_ref), sink);
        }
        self.ports.last += 1;
        if self.ports.waiting.len() >= MOST_WAITING
            && let Some(oldest) = self.ports.waiting.pop_front()
        {
            oldest.tell(None, sink);
        }
        self.ports.waiting.push_back(Failed { number: self.ports.last, ..failed });
    }

    /// Whether an event waits for the holder of a port.
    pub(super) fn waits_for_ports(&self) -> bool {
        !self.ports.waiting.is_empty()
    }

    /// Whether there is a port whose holder was not asked for.
    pub(super) fn asks_for_ports(&self) -> bool {
        self.ports.waiting.iter().any(|failed| !failed.asked)
    }

    /// The ports whose holders are to be found, each once.
    pub(super) fn wanted_ports(&mut self) -> Vec<Port> {
        let mut wanted = Vec::new();
        for failed in self.ports.waiting.iter_mut().filter(|failed| !failed.asked) {
            failed.asked = true;
            wanted.push(Port {
                number: failed.number,
                netns: failed.record.tuple.netns,
                pid: failed.owner.as_ref().map(|owner| owner.pid),
                udp: failed.is_udp(),
                port: failed.record.tuple.lport,
            });
        }
        wanted
    }

    /// Emits the events that wait for these answers.
    pub(super) fn learn_ports(&mut self, answers: &[AtPort], sink: &mut dyn Sink) {
        for answer in answers {
            let at = self.ports.waiting.iter().position(|failed| failed.number == answer.number);
            let Some(failed) = at.and_then(|at| self.ports.waiting.remove(at)) else { continue };
            let holder = self.holder_of_port(&failed, &answer.sockets);
            failed.tell(holder.as_deref(), sink);
        }
    }

    /// Emits all waiting events: no more answers will come.
    pub(super) fn forget_ports(&mut self, sink: &mut dyn Sink) {
        for failed in std::mem::take(&mut self.ports.waiting) {
            failed.tell(None, sink);
        }
    }

    /// The holder of the port at the failed bind(), judged by the tables a moment later.
    fn holder_of_port(&self, failed: &Failed, sockets: &[(Bound, Vec<u32>)]) -> Option<Rc<Owner>> {
        let (record, boot_ns) = (&failed.record, failed.record.header.boot_ns);
        let (mut listeners, mut others) = (Vec::new(), Vec::new());
        for (bound, holders) in sockets.iter().filter(|(bound, _)| is_in_the_way(record, bound)) {
            // Since then another process may have got the port.
            let listens_later = self
                .listeners
                .with_inode(bound.inode)
                .is_some_and(|id| self.connections.get(&id).is_some_and(|connection| connection.started_ns > boot_ns));
            let Some(holder) = holders.first().and_then(|pid| self.processes.holder(*pid)) else { continue };
            let younger = holder.start_ns.is_some_and(|start_ns| start_ns > boot_ns);
            let own = failed.owner.as_ref().is_some_and(|owner| owner.pid == holder.pid);
            let later = match is_older(bound.inode, u64::from(record.state.parent)) {
                Some(older) => !older,
                // A process that tries again has the port the next time.
                None => own,
            };
            if !(listens_later || younger || later) {
                if bound.listens { &mut listeners } else { &mut others }.push(holder);
            }
        }
        // Each listener is in the way; another socket with the option to share the port may be or not.
        let first = listeners.into_iter().next();
        first.or_else(|| {
            let one = others.pop()?;
            others.iter().all(|other| other.pid == one.pid).then_some(one)
        })
    }
}

/// Whether a socket can have made a bind() fail: its address is the same, or one of the two is any.
fn is_in_the_way(record: &SocketRecord, bound: &Bound) -> bool {
    let (wanted, has) = (&record.tuple, &bound.tuple);
    let any = [0; 4];
    let (family, laddr) = plain(wanted.family, wanted.laddr);
    let (its_family, its) = plain(has.family, has.laddr);
    // Each of two devices has the port.
    let device = has.ifindex == 0 || wanted.ifindex == 0 || has.ifindex == wanted.ifindex;
    let address = if its_family == family {
        its == laddr || its == any || laddr == any
    } else {
        has.family == 6 && its == any && bound.v6only != Some(true) || wanted.family == 6 && laddr == any
    };
    has.lport == wanted.lport && device && address
}

/// Whether the socket with the first inode is older than that with the second; `None` if unknown. Within a block
/// numbers only rise.
fn is_older(inode: u64, than: u64) -> Option<bool> {
    (inode != 0 && than != 0 && inode / BLOCK == than / BLOCK).then_some(inode < than)
}

#[cfg(test)]
mod tests {
    use tracer_common::{
        decode::Record,
        record::{RecordKind as K, RecordRole as R, Tuple},
    };

    use super::super::{
        Input,
        tests::{Only, Said, record, tuple},
    };
    use super::*;
    use crate::ProcessSnapshot;

    const ONE: [u32; 4] = [0x0100_007f, 0, 0, 0];
    const ANY: [u32; 4] = [0; 4];

    fn at(family: u8, laddr: [u32; 4]) -> Tuple {
        Tuple { family, laddr, raddr: ANY, rport: 0, netns: 7, ..tuple(80, 0) }
    }

    fn bound(inode: u64, tuple: Tuple, listens: bool) -> Bound {
        Bound { tuple: Tuple { netns: 0, ..tuple }, listens, v6only: Some(false), inode }
    }

    /// The holder found for process 5, which made its socket with inode 5000 at 20 ns; the other processes began at the
    /// ns that equals their pid.
    fn holder(wanted: Tuple, udp: bool, sockets: Vec<(Bound, Vec<u32>)>) -> Option<u32> {
        let (mut core, mut said) = (Correlation::new(Only(None)), Said::default());
        let mut failed = record(K::BindFailed, 20, 2, R::Unknown, 0, 5, wanted);
        (failed.errno, failed.state.parent) = (libc::EADDRINUSE, 5000);
        failed.detail = if udp { UDP } else { 6 };
        core.apply(Input::Record(Record::Socket(K::BindFailed, &failed)), &mut said);
        assert!(said.0.is_empty() && core.waits_for_ports());
        let asked = core.wanted_ports();
        assert_eq!(asked, [Port { number: 1, netns: 7, pid: asked.first()?.pid, udp, port: 80 }]);
        assert!(core.wanted_ports().is_empty(), "once");
        for pid in sockets.iter().flat_map(|(_, pids)| pids) {
            let (facts, comm) = (tracer_stream::ProcessFacts::default(), pid.to_string());
            let snapshot =
                ProcessSnapshot { pid: *pid, start_ns: (*pid).into(), comm, uid: None, real_uid: None, facts };
            core.apply(Input::Process(snapshot), &mut said);
        }
        let of = core.ports.waiting.front()?;
        core.holder_of_port(of, &sockets).map(|owner| owner.pid)
    }

    #[test]
    fn what_is_bound_at_the_same_address_or_any_is_in_the_way() {
        let wanted = at(4, ONE);
        assert_eq!(holder(wanted, false, vec![(bound(9, at(4, ONE), false), vec![3])]), Some(3));
        assert_eq!(holder(wanted, true, vec![(bound(9, at(4, ANY), false), vec![3])]), Some(3));
        assert_eq!(holder(at(4, ANY), true, vec![(bound(9, at(4, ONE), false), vec![3])]), Some(3));
        assert_eq!(holder(wanted, true, vec![(bound(9, at(4, [1, 0, 0, 0]), false), vec![3])]), None);
        assert_eq!(holder(wanted, true, vec![(bound(9, at(6, ANY), false), vec![3])]), Some(3));
        let only = Bound { v6only: Some(true), ..bound(9, at(6, ANY), false) };
        assert_eq!(holder(wanted, true, vec![(only, vec![3])]), None);
        let on = |ifindex| Tuple { ifindex, ..at(4, ONE) };
        assert_eq!(
            holder(on(1), false, vec![(bound(9, on(2), false), vec![3]), (bound(9, on(1), false), vec![4])]),
            Some(4)
        );
    }

    #[test]
    fn a_listener_goes_before_others_of_whom_only_one_process_is_named() {
        let (listener, one, other) =
            (bound(9, at(4, ONE), true), bound(10, at(4, ONE), false), bound(11, at(4, ANY), false));
        let wanted = at(4, ONE);
        let all = vec![(one.clone(), vec![2]), (other.clone(), vec![3]), (listener, vec![4])];
        assert_eq!(holder(wanted, false, all), Some(4));
        assert_eq!(holder(wanted, false, vec![(one.clone(), vec![2]), (other.clone(), vec![3])]), None);
        assert_eq!(holder(wanted, false, vec![(one, vec![2, 3]), (other, vec![2])]), Some(2), "the oldest holder");
    }

    #[test]
    fn who_has_the_port_since_then_did_not_hold_it() {
        let wanted = at(4, ONE);
        let of = |inode, pid| holder(wanted, true, vec![(bound(inode, wanted, false), vec![pid])]);
        assert_eq!(of(9, 19), Some(19));
        assert_eq!(of(9, 21), None, "that process has begun later");
        assert_eq!(of(4999, 5), Some(5), "its own, and older");
        assert_eq!(of(5001, 5), None, "its own, when it has tried again");
        assert_eq!(of(9, 5), None, "its own: when it was made cannot be told");
        assert_eq!(of(5001, 4), None, "another one's, but younger");
    }
}
