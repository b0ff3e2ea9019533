//! How long programs wait for name servers, by the surveys: a resolver has one connected UDP socket for each question, until
//! the answer comes or its timeout is over.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
};

use tracer_stream::Party;

use crate::causes::survey::{Survey, SurveySocket, Transport};

/// The port of name servers.
pub const DNS: u16 = 53;
/// The most sockets that are followed at a time, and the most programs with their servers.
const MOST: usize = 1024;
/// The shortest wait that counts, ns. Two surveys a second apart differ by a little less.
const LEAST_NS: u64 = 900_000_000;

/// A program and the name server that it asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Asker {
    /// The namespace of the program.
    pub netns: u32,
    /// Its name. Hostile bytes.
    pub comm: String,
    /// The server's address.
    pub server: IpAddr,
}

/// What it waited for that server.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    /// Sockets that were there for a second or more without anything to read, and then went.
    pub ended: u64,
    /// Sockets that no two surveys a second apart have seen, or that had something to read.
    pub short: u64,
    /// The longest wait that ended: the time between the first and the last survey that saw its socket, ns.
    pub longest_ns: u64,
    /// The process that waited last.
    pub by: Option<Party>,
}

/// An open socket.
#[derive(Debug)]
struct Open {
    asker: Asker,
    by: Party,
    first_ns: u64,
    last_ns: u64,
    answered: bool,
}

type Key = (u32, u64, IpAddr, u16, IpAddr);

/// All waits.
#[derive(Debug, Default)]
pub struct AllWaits {
    /// In order, so that the same surveys say the same.
    open: BTreeMap<Key, Open>,
    waits: BTreeMap<Asker, Waits>,
    /// The most sockets without room in one survey, and programs without room.
    pub untold: u64,
}

impl AllWaits {
    /// The programs and the servers that they ask.
    pub fn all(&self) -> impl Iterator<Item = (&Asker, &Waits)> {
        self.waits.iter()
    }

    /// Takes a survey.
    pub(super) fn survey(&mut self, survey: &Survey) {
        let asks = |socket: &&SurveySocket| {
            socket.transport == Transport::Udp && socket.rport == DNS && socket.inode != 0 && !socket.pids.is_empty()
        };
        let now: BTreeMap<Key, &SurveySocket> =
            survey.sockets.iter().filter(asks).map(|socket| (key(socket), socket)).collect();
        // A socket that found no room in the survey may still be there.
        let complete = survey.omitted == 0;
        let gone: Vec<Key> = self.open.keys().filter(|key| !now.contains_key(*key)).copied().collect();
        for key in gone {
            if let Some(open) = self.open.remove(&key).filter(|_| complete) {
                self.end(open);
            }
        }
        let unknown: HashSet<u32> = now
            .iter()
            .filter(|(key, _)| !self.open.contains_key(*key))
            .filter_map(|(_, socket)| socket.pids.first().copied())
            .collect();
        let parties: HashMap<u32, Party> = survey
            .processes
            .iter()
            .filter(|process| unknown.contains(&process.pid))
            .map(|process| {
                let (container, unit) = (process.container.clone(), process.unit.clone());
                (process.pid, Party { pid: process.pid, comm: process.comm.clone(), container, unit, netns: None })
            })
            .collect();
        let mut untold = 0;
        for (key, socket) in now {
            if let Some(open) = self.open.get_mut(&key) {
                open.last_ns = survey.boot_ns;
                open.answered |= socket.recv_q > 0;
                continue;
            }
            let Some(by) = socket.pids.first().and_then(|pid| parties.get(pid)) else { continue };
            if self.open.len() >= MOST {
                untold += 1;
                continue;
            }
            let asker = Asker { netns: socket.netns, comm: by.comm.clone(), server: socket.raddr };
            let by = Party { netns: Some(socket.netns), ..by.clone() };
            let (first_ns, last_ns) = (survey.boot_ns, survey.boot_ns);
            self.open.insert(key, Open { asker, by, first_ns, last_ns, answered: socket.recv_q > 0 });
        }
        self.untold = self.untold.max(untold);
    }

    fn end(&mut self, open: Open) {
        if self.waits.len() >= MOST && !self.waits.contains_key(&open.asker) {
            self.untold += 1;
            return;
        }
        let waits = self.waits.entry(open.asker).or_default();
        let ns = open.last_ns.saturating_sub(open.first_ns);
        if ns < LEAST_NS || open.answered {
            waits.short += 1;
            return;
        }
        waits.ended += 1;
        waits.longest_ns = waits.longest_ns.max(ns);
        waits.by = Some(open.by);
    }
}

const fn key(socket: &SurveySocket) -> Key {
    (socket.netns, socket.inode, socket.laddr, socket.lport, socket.raddr)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tracer_stream::TcpState;

    use super::*;
    use crate::causes::survey::SurveyProcess;

    fn survey(s: u64, sockets: &[(u64, u32)]) -> Survey {
        let socket = |(inode, recv_q): &(u64, u32)| SurveySocket {
            transport: Transport::Udp,
            state: TcpState::Established,
            netns: 1,
            laddr: "10.0.1.1".parse().unwrap(),
            lport: 4000,
            raddr: "10.0.2.1".parse().unwrap(),
            rport: DNS,
            inode: *inode,
            pids: vec![8],
            recv_q: *recv_q,
            send_q: 0,
            tcp: None,
        };
        let processes = vec![SurveyProcess { pid: 8, comm: "shop".into(), ..SurveyProcess::default() }];
        let sockets = sockets.iter().map(socket).collect();
        Survey { boot_ns: s * 1_000_000_000, sockets, processes, ..Survey::default() }
    }

    #[test]
    fn a_wait_is_the_time_between_surveys_and_ends_with_its_socket() {
        let mut waits = AllWaits::default();
        for (s, sockets) in [(1, &[(5, 0)][..]), (2, &[(5, 0)]), (4, &[(5, 0), (6, 0), (7, 0)]), (5, &[(7, 90)])] {
            waits.survey(&survey(s, sockets));
        }
        let (asker, ended) = waits.all().next().unwrap();
        assert_eq!((asker.comm.as_str(), ended.ended, ended.short, ended.longest_ns), ("shop", 1, 1, 3_000_000_000));
        waits.survey(&survey(6, &[]));
        assert_eq!(waits.all().next().unwrap().1.short, 2, "an answer had come");
    }

    #[test]
    fn a_socket_that_found_no_room_has_not_ended() {
        let mut waits = AllWaits::default();
        waits.survey(&survey(1, &[(5, 0)]));
        waits.survey(&survey(3, &[(5, 0)]));
        waits.survey(&Survey { omitted: 1, ..survey(4, &[]) });
        assert_eq!(waits.all().count(), 0);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let many: Vec<(u64, u32)> = (1..=MOST as u64 + 3).map(|inode| (inode, 0)).collect();
        let mut waits = AllWaits::default();
        waits.survey(&survey(1, &many));
        waits.survey(&survey(2, &many));
        assert_eq!((waits.open.len(), waits.untold), (MOST, 3));
    }
}
