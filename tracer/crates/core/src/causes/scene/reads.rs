//! How processes read their TCP connections, by the surveys: what has come, what of it waits, and whether the writer does.

use std::collections::{BTreeMap, HashMap, HashSet};

use tracer_stream::TcpState;

use super::Tuple;
use crate::causes::survey::{Survey, SurveySocket, Transport};

/// The most connections that are followed at a time.
const MOST: usize = 1024;
/// The least number of unread bytes with which a connection becomes interesting.
const LEAST: u32 = 4096;
/// The shortest stretch without a read that counts, ns. Two surveys a second apart differ by a little less.
const LEAST_NS: u64 = 900_000_000;
/// A connection whose data were read for so long is of no interest any more, ns.
const FORGET_NS: u64 = 20_000_000_000;

/// How one end of a connection is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Read {
    /// When a survey first saw unread bytes, and when the last one saw the connection, ns.
    pub first_ns: u64,
    /// See above.
    pub last_ns: u64,
    /// Unread bytes now.
    pub unread: u32,
    /// The most that were seen.
    pub most: u32,
    /// For how long nothing has been read although something waits, until now, ns.
    pub idle_ns: u64,
    /// The longest such stretch, ns.
    pub longest_ns: u64,
    /// How many of them, of a second or more, ended with a read.
    pub bursts: u32,
    /// Bytes read since it is followed, where the kernel counts them.
    pub taken: Option<u64>,
    /// Time for which the writer waited for this end's window since it is followed, µs; the writer is on this host.
    pub writer_us: Option<u64>,
    /// The writer has something to send now, and may not: the window is closed, or it waited since the survey before.
    pub is_writer_waiting: bool,
    read: Option<u64>,
    limited_us: Option<u64>,
    unread_ns: u64,
}

/// Namespace, inode of the socket, and its ends.
type Key = (u32, u64, Tuple);

/// All connections with unread bytes.
#[derive(Debug, Default)]
pub struct Reads {
    /// In order, so that the same surveys say the same.
    open: BTreeMap<Key, Read>,
    /// The most connections without room in one survey.
    pub untold: u64,
}

impl Reads {
    /// The connection of this surveyed socket.
    #[must_use]
    pub fn get(&self, socket: &SurveySocket) -> Option<&Read> {
        self.open.get(&key(socket))
    }

    /// Takes a survey.
    pub(super) fn survey(&mut self, survey: &Survey) {
        let is_connection = |socket: &&SurveySocket| {
            (socket.transport, socket.inode != 0) == (Transport::Tcp, true) && socket.state != TcpState::Listen
        };
        let is_read = |socket: &&SurveySocket| socket.recv_q >= LEAST || self.open.contains_key(&key(socket));
        let readers: Vec<&SurveySocket> = survey.sockets.iter().filter(is_connection).filter(is_read).collect();
        let wanted: HashSet<Tuple> = readers.iter().map(|socket| reversed(tuple(socket))).collect();
        let writers: HashMap<Tuple, &SurveySocket> = survey
            .sockets
            .iter()
            .filter(|socket| socket.tcp.is_some() && wanted.contains(&tuple(socket)))
            .map(|socket| (tuple(socket), socket))
            .collect();
        let mut untold = 0;
        for socket in readers {
            let key = key(socket);
            let writer = writers.get(&reversed(tuple(socket))).copied();
            if let Some(read) = self.open.get_mut(&key) {
                read.look(survey.boot_ns, socket, writer);
            } else if self.open.len() < MOST {
                self.open.insert(key, Read::new(survey.boot_ns, socket, writer));
            } else {
                untold += 1;
            }
        }
        self.untold = self.untold.max(untold);
        let now = survey.boot_ns;
        self.open.retain(|_, read| read.last_ns == now && now.saturating_sub(read.unread_ns) < FORGET_NS);
    }
}

impl Read {
    fn new(now: u64, socket: &SurveySocket, writer: Option<&SurveySocket>) -> Self {
        let read = read(socket);
        let limited_us = writer.and_then(limited_us);
        Self {
            first_ns: now,
            last_ns: now,
            unread: socket.recv_q,
            most: socket.recv_q,
            taken: read.map(|_| 0),
            writer_us: limited_us.map(|_| 0),
            is_writer_waiting: writer.is_some_and(is_window_closed),
            read,
            limited_us,
            unread_ns: now,
            ..Self::default()
        }
    }

    fn look(&mut self, now: u64, socket: &SurveySocket, writer: Option<&SurveySocket>) {
        let (read, limited_us) = (read(socket), writer.and_then(limited_us));
        let since = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        let taken = since(read, self.read);
        let is_idle = self.unread > 0 && socket.recv_q > 0 && taken.map_or(socket.recv_q >= self.unread, |n| n == 0);
        if is_idle {
            self.idle_ns += now.saturating_sub(self.last_ns);
            self.longest_ns = self.longest_ns.max(self.idle_ns);
        } else {
            self.bursts += u32::from(self.idle_ns >= LEAST_NS);
            self.idle_ns = 0;
        }
        let waited = since(limited_us, self.limited_us);
        let has_waited = waited.is_some_and(|us| us > 0) && writer.is_some_and(|writer| writer.send_q > 0);
        self.is_writer_waiting = has_waited || writer.is_some_and(is_window_closed);
        self.taken = self.taken.zip(taken).map(|(all, more)| all + more);
        self.writer_us = self.writer_us.zip(waited).map(|(all, more)| all + more);
        (self.read, self.limited_us, self.last_ns, self.unread) = (read, limited_us, now, socket.recv_q);
        self.most = self.most.max(socket.recv_q);
        if socket.recv_q >= LEAST {
            self.unread_ns = now;
        }
    }
}

/// How far the process has read.
fn read(socket: &SurveySocket) -> Option<u64> {
    Some(socket.tcp.as_ref()?.rx_bytes?.saturating_sub(u64::from(socket.recv_q)))
}

fn limited_us(writer: &SurveySocket) -> Option<u64> {
    writer.tcp.as_ref()?.rwnd_limited_us
}

/// Whether a writer has something to send, and the reader's window has no room for it.
fn is_window_closed(writer: &SurveySocket) -> bool {
    writer.send_q > 0 && writer.tcp.as_ref().is_some_and(|tcp| tcp.snd_wnd == Some(0))
}

fn key(socket: &SurveySocket) -> Key {
    (socket.netns, socket.inode, tuple(socket))
}

const fn tuple(socket: &SurveySocket) -> Tuple {
    (socket.laddr, socket.lport, socket.raddr, socket.rport)
}

const fn reversed((laddr, lport, raddr, rport): Tuple) -> Tuple {
    (raddr, rport, laddr, lport)
}
