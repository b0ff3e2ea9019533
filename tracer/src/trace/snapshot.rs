//! The state at the start of the trace: processes, from /proc, and the TCP sockets of every network namespace with
//! their holders, by the fastest way that the kernel has.

use std::collections::HashSet;

use tracer_common::record::Tuple;

use crate::{
    core::{ProcessSnapshot, SeedSocket},
    kernel::iterators::Iterators,
    proc::{
        fd,
        look::{self, Look},
        process,
        root::ProcRoot,
        tables::{self, tcp_tables},
    },
    readers::Readers,
    sockets::{
        collect::collect,
        owners::Owners,
        proto::{Proto, Protos, State},
        row::Row,
        source::{Ask, Via},
    },
    stream::TcpState,
};

/// The snapshot.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Every process that could be read.
    pub processes: Vec<ProcessSnapshot>,
    /// Every TCP socket but those in TIME_WAIT and the handshakes of listeners.
    pub sockets: Vec<SeedSocket>,
    /// What could not be read, one sentence each.
    pub gaps: Vec<String>,
}

/// Takes the snapshot; without `with_sockets`, of processes only.
#[must_use]
pub fn take(root: &ProcRoot, readers: &Readers, with_sockets: bool) -> Snapshot {
    let mut snapshot = Snapshot::default();
    // Processes first: later forks are recorded, and processes that end from now on are not in the snapshot.
    match process::list(root) {
        Ok(pids) => processes(root, readers, pids, &mut snapshot),
        Err(error) => snapshot.gaps.push(error.to_string()),
    }
    // This process is at least one.
    if snapshot.processes.is_empty() && snapshot.gaps.is_empty() {
        snapshot.gaps.push(format!(
            "{} shows no processes (is it mounted?): older connections, executables and control groups are unknown",
            root.path().display()
        ));
    }
    if with_sockets {
        every_socket(root, &mut snapshot);
    }
    snapshot
}

/// Turns a look at process `pid` into a snapshot of it.
#[must_use]
pub fn process_snapshot(pid: u32, look: Look) -> Option<ProcessSnapshot> {
    let Look::Seen(identity, facts) = look else { return None };
    // A process that is ending has no executable any more, and has left its cgroup for the root.
    facts.exe.as_ref()?;
    let process::ProcessIdentity { start_ns, comm, uid, real_uid, .. } = identity;
    Some(ProcessSnapshot { pid, start_ns, comm, uid, real_uid, facts })
}

fn processes(root: &ProcRoot, readers: &Readers, pids: impl IntoIterator<Item = u32>, snapshot: &mut Snapshot) {
    let mut looks: Vec<(u32, Look)> = look::all(readers, root, pids).into_iter().collect();
    looks.sort_unstable_by_key(|(pid, _)| *pid);
    let late = looks.iter().filter(|(_, look)| match look {
        Look::Seen(_, facts) => facts.late,
        Look::Gone => false,
        Look::Late => true,
    });
    snapshot.gaps.extend(gap_of_late(late.count()));
    snapshot.processes.extend(looks.into_iter().filter_map(|(pid, look)| process_snapshot(pid, look)));
}

/// The sockets with these tuples, the listeners with the inodes in `listeners`, and the processes that hold them. A
/// tuple without a network namespace stands for all that agree in the rest.
#[must_use]
pub fn holders_of(root: &ProcRoot, readers: &Readers, tuples: &[Tuple], listeners: &[u64]) -> Snapshot {
    let key = |tuple: &Tuple| (tuple.family, tuple.laddr, tuple.lport, tuple.raddr, tuple.rport);
    let wanted: HashSet<_> = tuples.iter().map(key).collect();
    let mut snapshot = Snapshot::default();
    let listeners: HashSet<u64> = listeners.iter().copied().collect();
    sockets(root, &mut snapshot, |tuple, inode| wanted.contains(&key(tuple)) || listeners.contains(&inode));
    let pids: HashSet<u32> = snapshot.sockets.iter().flat_map(|socket| socket.holders.iter().copied()).collect();
    processes(root, readers, pids, &mut snapshot);
    snapshot
}

/// The snapshots of these processes from /proc.
#[must_use]
pub fn of_processes(root: &ProcRoot, readers: &Readers, pids: impl IntoIterator<Item = u32>) -> Vec<ProcessSnapshot> {
    let mut snapshot = Snapshot::default();
    processes(root, readers, pids, &mut snapshot);
    snapshot.processes
}

fn every_socket(root: &ProcRoot, snapshot: &mut Snapshot) {
    // Netlink and iterators show the running kernel; a made-up root has files.
    let via = if *root == ProcRoot::default() { Via::Auto } else { Via::Proc };
    let protos = Protos::that(|proto| proto == Proto::Tcp);
    let ask = Ask { protos, details: false, time_wait: false, via, facts: false, order: None };
    let picture = match collect(root, &ask, &Iterators::default()) {
        Ok(picture) => picture,
        Err(why) => return snapshot.gaps.push(why),
    };
    log::info!("older sockets: {}", picture.ways.join(", "));
    snapshot.gaps.extend(gap_of_lines(picture.malformed.count));
    snapshot.sockets = picture.rows.iter().filter_map(|row| seed(row, &picture.owners)).collect();
    let is_orphan = |socket: &&SeedSocket| socket.inode != 0 && socket.holders.is_empty();
    let orphans = snapshot.sockets.iter().filter(is_orphan).count();
    snapshot.gaps.extend(gap_of_orphans(picture.denied, orphans));
    snapshot.gaps.extend(picture.gaps);
}

/// `None` if the row is no socket: the handshake of a listener, or the remains in TIME_WAIT.
fn seed(row: &Row, owners: &Owners) -> Option<SeedSocket> {
    let inet = row.inet()?;
    let state = match row.state {
        State::Listen => TcpState::Listen,
        State::Established => TcpState::Established,
        State::SynSent => TcpState::SynSent,
        State::FinWait1 => TcpState::FinWait1,
        State::FinWait2 => TcpState::FinWait2,
        State::CloseWait => TcpState::CloseWait,
        State::LastAck => TcpState::LastAck,
        State::Closing => TcpState::Closing,
        State::Close => TcpState::Close,
        _ => return None,
    };
    let tuple = Tuple {
        laddr: inet.laddr,
        raddr: inet.raddr,
        lport: inet.lport,
        rport: inet.rport,
        family: inet.family,
        reserved: [0; 3],
        netns: row.netns,
        ifindex: inet.ifindex,
    };
    // A socket that waits for accept() has no holder, though its owner is known.
    let holders = if row.inode == 0 { Vec::new() } else { owners.of(row).pids.to_vec() };
    let v6only = inet.v6only.filter(|_| state == TcpState::Listen);
    Some(SeedSocket { tuple, v6only, state, inode: row.inode, holders })
}

fn sockets(root: &ProcRoot, snapshot: &mut Snapshot, wanted: impl Fn(&Tuple, u64) -> bool) {
    let mut rows: Vec<(Tuple, TcpState, u64)> = Vec::new();
    let report = tcp_tables(root, |netns, row| {
        let Some(state) = TcpState::from_number(row.state) else { return };
        // A row without an inode in SYN_RECV is a listener's handshake, and one in TIME_WAIT is the remains of a closed
        // socket: neither is a socket.
        if matches!(state, TcpState::TimeWait | TcpState::NewSynRecv | TcpState::SynRecv) {
            return;
        }
        let tuple = Tuple {
            laddr: row.laddr,
            raddr: row.raddr,
            lport: row.lport,
            rport: row.rport,
            family: row.family,
            reserved: [0; 3],
            netns,
            ifindex: 0,
        };
        if wanted(&tuple, row.inode) {
            rows.push((tuple, state, row.inode));
        }
    });
    gaps_of(&report, &mut snapshot.gaps);
    let wanted: HashSet<u64> = rows.iter().map(|row| row.2).filter(|inode| *inode != 0).collect();
    let (holders, report) = fd::SocketHolders::scan(root, Some(&wanted));
    let orphans = rows.iter().filter(|row| row.2 != 0 && holders.holders(row.2).is_empty()).count();
    snapshot.gaps.extend(gap_of_orphans(report.denied, orphans));
    snapshot.sockets = rows
        .into_iter()
        .map(|(tuple, state, inode)| SeedSocket {
            tuple,
            v6only: None,
            state,
            inode,
            holders: holders.holders(inode).to_vec(),
        })
        .collect();
}

fn gap_of_lines(malformed: u64) -> Option<String> {
    (malformed > 0).then(|| format!("{malformed} lines of /proc/net tables could not be understood"))
}

fn gap_of_late(late: usize) -> Option<String> {
    let who = match late {
        0 => return None,
        1 => "1 process did not answer in time: its".to_owned(),
        _ => format!("{late} processes did not answer in time: their"),
    };
    Some(format!("{who} arguments are unknown (something holds the memory map, a hung file system perhaps)"))
}

/// `denied`: number of processes that this process may not inspect.
fn gap_of_orphans(denied: u32, orphans: usize) -> Option<String> {
    (denied > 0 && orphans > 0)
        .then(|| format!("{denied} processes may not be looked into: the owners of {orphans} connections stay unknown"))
}

fn gaps_of(report: &tables::Report, gaps: &mut Vec<String>) {
    gaps.extend(gap_of_lines(report.malformed.count));
    for unreadable in &report.unreadable {
        gaps.push(format!("network namespace {} cannot be read: {}", unreadable.inode, unreadable.why));
    }
}
