//! Surveys the host for its causes: the sockets and their figures, the processes that hold them, the namespaces. On a
//! thread of its own, because a survey of a large host takes long.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use log::debug;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

use super::{errand::Done, namespaces::Namespaces};
use crate::{
    clock,
    core::{
        causes::survey::{Device, Namespace, Survey, SurveyProcess, SurveySocket, SurveyTcp, Transport},
        question::Answer,
    },
    kernel::iterators::Iterators,
    privilege::{Duty, Sandbox, capabilities},
    proc::{doing, netns::Netns, root::ProcRoot},
    sockets::{
        collect::{self, Picture},
        proto::{Proto, Protos, State},
        row::{Row, Tcp},
        source::{Ask, Via},
    },
    stream::{self, TcpState},
};

/// Between the beginnings of two surveys.
const INTERVAL: Duration = Duration::from_secs(1);
/// The pause is also at least this multiple of the last survey's processor time.
const SHARE: u32 = 9;
/// The most sockets, processes and namespaces of a survey.
const MOST_SOCKETS: usize = 16_384;
const MOST_PROCESSES: usize = 1024;
const MOST_NAMESPACES: usize = 1024;
/// The most holders of one socket.
const MOST_HOLDERS: usize = 8;
/// The most sentences about what could not be read.
const MOST_GAPS: usize = 16;

/// The pause after a survey that took this processor time.
pub fn pause(took: Duration) -> Duration {
    (took * SHARE).max(INTERVAL.saturating_sub(took))
}

/// The thread, and what it remembers.
#[derive(Debug)]
pub struct Surveyor {
    thread: Namespaces,
    /// It belongs to the other thread.
    memory: Arc<Mutex<Memory>>,
}

/// What does not change between two surveys.
#[derive(Debug, Default)]
struct Memory {
    /// Container and unit, by process and its start.
    places: HashMap<(u32, u64), Place>,
    /// A survey has been taken.
    began: bool,
}

/// Container and unit of a process.
type Place = (Option<String>, Option<String>);

impl Surveyor {
    /// Starts the thread.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(sandbox: Sandbox) -> io::Result<Self> {
        let thread = Namespaces::start("survey", sandbox, Duty::Namespaces, capabilities::ENTER)?;
        Ok(Self { thread, memory: Arc::default() })
    }

    /// Takes a survey, and sends it to `send`.
    pub fn survey(&self, root: &ProcRoot, send: oneshot::Sender<Done>) {
        let (root, memory) = (root.clone(), self.memory.clone());
        self.thread.give(move || {
            let began = processor_time();
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            let survey = take(&root, &mut memory);
            let cpu = processor_time().saturating_sub(began);
            debug!(
                "survey: {} sockets, {} processes, {} namespaces in {cpu:?}",
                survey.sockets.len(),
                survey.processes.len(),
                survey.namespaces.len()
            );
            // Beside the first one the whole process works on the beginning of the trace.
            let cpu = if std::mem::replace(&mut memory.began, true) { cpu } else { Duration::ZERO };
            // The receiver is gone if the trace ended first.
            let _ = send.send(Done { answer: Answer::Survey(Box::new(survey)), cpu: Some(cpu), warning: None });
        });
    }
}

/// Processor time of the whole process: a survey has several threads, and what others use meanwhile makes it wait longer.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// Takes a survey on this thread.
#[must_use]
pub fn once(root: &ProcRoot) -> Survey {
    take(root, &mut Memory::default())
}

/// Takes a survey.
fn take(root: &ProcRoot, memory: &mut Memory) -> Survey {
    let mut survey = Survey { boot_ns: clock::boot_ns(), ..Survey::default() };
    // Netlink shows the running kernel; a made-up root has files.
    let via = if *root == ProcRoot::default() { Via::Netlink } else { Via::Proc };
    let protos = Protos::that(|proto| matches!(proto, Proto::Tcp | Proto::Udp));
    let ask = Ask { protos, details: true, time_wait: false, via, facts: false, order: None };
    let picture = match collect::collect(root, &ask, &Iterators::default()) {
        Ok(picture) => picture,
        Err(why) => {
            survey.gaps.push(why);
            return survey;
        }
    };
    namespaces(root, &picture, &mut survey);
    sockets(&picture, &mut survey);
    processes(root, &picture, memory, &mut survey);
    survey.gaps.extend(picture.gaps);
    survey.gaps.truncate(MOST_GAPS);
    survey
}

fn namespaces(root: &ProcRoot, picture: &Picture, survey: &mut Survey) {
    let mut found: Vec<&Netns> = picture.namespaces.values().collect();
    // Named ones first.
    found.sort_unstable_by_key(|netns| (picture.own_netns != Some(netns.inode), netns.name.is_none(), netns.inode));
    survey.omitted += found.len().saturating_sub(MOST_NAMESPACES) as u64;
    for netns in found.into_iter().take(MOST_NAMESPACES) {
        let read = match tracer_host::survey::namespace(root, netns) {
            Ok(Some(read)) => read,
            Ok(None) => continue,
            Err(error) => {
                survey.gaps.push(error.to_string());
                tracer_host::survey::Namespace::default()
            }
        };
        let device = |device: tracer_host::survey::Device| Device {
            ifindex: device.ifindex,
            name: device.name,
            mtu: device.mtu,
            addresses: device.addresses,
        };
        survey.time_wait.extend(read.time_wait.filter(|count| *count > 0).map(|count| (netns.inode, count)));
        survey.namespaces.push(Namespace {
            inode: netns.inode,
            name: netns.name.clone(),
            own: picture.own_netns == Some(netns.inode),
            devices: read.devices.into_iter().map(device).collect(),
            ports: read.ports,
            conntrack: read.conntrack,
            conntrack_timeout_s: read.conntrack_timeout_s,
        });
    }
}

/// Adds the sockets; where there are too many, those that may be in trouble come first.
fn sockets(picture: &Picture, survey: &mut Survey) {
    let mut shown: Vec<(&Row, TcpState)> = picture.rows.iter().filter_map(|row| Some((row, state(row)?))).collect();
    shown.sort_by_key(|(row, state)| rank(row, *state));
    survey.omitted += shown.len().saturating_sub(MOST_SOCKETS) as u64;
    survey.sockets =
        shown.into_iter().take(MOST_SOCKETS).filter_map(|(row, state)| socket(picture, row, state)).collect();
}

/// The state of a socket of TCP or UDP; `None` of what is left of one in `TIME_WAIT`, which is only counted.
const fn state(row: &Row) -> Option<TcpState> {
    Some(match row.state {
        State::Listen => TcpState::Listen,
        State::Established => TcpState::Established,
        State::SynSent => TcpState::SynSent,
        State::SynRecv => TcpState::SynRecv,
        State::FinWait1 => TcpState::FinWait1,
        State::FinWait2 => TcpState::FinWait2,
        State::CloseWait => TcpState::CloseWait,
        State::LastAck => TcpState::LastAck,
        State::Closing => TcpState::Closing,
        State::Close | State::Unconn => TcpState::Close,
        _ => return None,
    })
}

const fn rank(row: &Row, state: TcpState) -> u8 {
    match state {
        TcpState::Listen => 0,
        _ if row.recv_q > 0 || row.send_q > 0 => 1,
        TcpState::Established | TcpState::Close => 3,
        _ => 2,
    }
}

fn socket(picture: &Picture, row: &Row, state: TcpState) -> Option<SurveySocket> {
    let inet = row.inet()?;
    let address = |words| stream::address(inet.family, words).0;
    Some(SurveySocket {
        transport: if row.proto == Proto::Tcp { Transport::Tcp } else { Transport::Udp },
        state,
        netns: row.netns,
        laddr: address(inet.laddr),
        lport: inet.lport,
        raddr: address(inet.raddr),
        rport: inet.rport,
        inode: row.inode,
        // Of one that waits for accept(): those of its listener.
        pids: picture.owners.of(row).pids.iter().copied().take(MOST_HOLDERS).collect(),
        recv_q: row.recv_q,
        send_q: row.send_q,
        tcp: row.tcp().filter(|_| state != TcpState::Listen).map(tcp),
    })
}

fn tcp(tcp: &Tcp) -> SurveyTcp {
    SurveyTcp {
        srtt_us: tcp.srtt_us,
        rto_us: tcp.rto_us,
        retransmits: tcp.retransmits,
        unacked: tcp.unacked,
        mss: tcp.mss,
        cwnd: tcp.cwnd,
        tx_bytes: tcp.tx_bytes,
        rx_bytes: tcp.rx_bytes,
        backoff: tcp.backoff,
        snd_wnd: tcp.snd_wnd,
        last_sent_ms: tcp.last_sent_ms,
        last_received_ms: tcp.last_received_ms,
        last_ack_ms: tcp.last_ack_ms,
        busy_us: tcp.busy_us,
        rwnd_limited_us: tcp.rwnd_limited_us,
        sndbuf_limited_us: tcp.sndbuf_limited_us,
    }
}

/// Adds the processes that hold the sockets, in the order of the sockets.
fn processes(root: &ProcRoot, picture: &Picture, memory: &mut Memory, survey: &mut Survey) {
    let mut known = HashSet::new();
    let mut places = HashMap::new();
    for pid in survey.sockets.iter().flat_map(|socket| &socket.pids) {
        if !known.insert(*pid) {
            continue;
        }
        if survey.processes.len() >= MOST_PROCESSES {
            survey.omitted += 1;
            continue;
        }
        let Some(doing) = doing::read(root, *pid) else { continue };
        let held_by = picture.owners.process(*pid).and_then(|owner| owner.start_ns);
        if held_by.is_some_and(|start_ns| start_ns != doing.start_ns) {
            // Another process has the number by now.
            continue;
        }
        let key = (*pid, doing.start_ns);
        let (container, unit) = memory.places.remove(&key).unwrap_or_else(|| doing::place(root, *pid));
        places.insert(key, (container.clone(), unit.clone()));
        survey.processes.push(SurveyProcess {
            pid: *pid,
            start_ns: doing.start_ns,
            comm: doing.comm,
            parent: doing.parent,
            state: Some(doing.state),
            wchan: doing.wchan,
            descriptors: doing.descriptors,
            descriptor_limit: doing.descriptor_limit,
            cpu_ms: doing.cpu_ms,
            container,
            unit,
        });
    }
    // Processes that are gone are forgotten.
    memory.places = places;
}

#[cfg(test)]
#[path = "survey_tests.rs"]
mod tests;
