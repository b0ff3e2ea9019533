//! The core's questions to the host, and the answers.
//!
//! The core does not look anything up. Before it gets a record, its caller asks for the questions of that record
//! ([`Core::before`](super::Core::before)): the record waits for their answers. Other questions
//! ([`Core::question`](super::Core::question)) concern events that the core holds back, or facts that it can use whenever
//! they come. Every answer comes back as [`Input::Answer`](super::Input::Answer).

use serde::{Deserialize, Serialize};
use tracer_common::{decode::Record, record::Tuple};
use tracer_stream::Sink;

use super::{
    Correlation, Gate, Holders, ProcessSnapshot, forms,
    packets::{Asked, Explained},
    ports::{AtPort, Port},
};
use crate::{causes::survey::Survey, findings::Facts};

/// A question.
#[derive(Clone, Debug)]
pub enum Question {
    /// A process that a record names and that /proc may know more about.
    Process {
        /// Its number.
        pid: u32,
        /// When it started; 0 if unknown.
        start_ns: u64,
        /// The core knows the process; only its cgroup may have changed.
        known: bool,
    },
    /// The name of a call site.
    Symbol(u64),
    /// The frames of a kernel stack.
    Stack {
        /// Its number in the record.
        number: u16,
        /// The call that dropped the packet.
        location: u64,
    },
    /// The processes that hold the socket's file with this inode number.
    Holding(u64),
    /// The holders of sockets that no record names an owner of, and the ports of listeners.
    Owners {
        /// Connections without a known acceptor.
        tuples: Vec<Tuple>,
        /// Inodes of listeners with an unknown port.
        unbound: Vec<u64>,
    },
    /// The holders of ports that a bind() could not get.
    Ports(Vec<Port>),
    /// Details of drops.
    Hints(Vec<Asked>),
    /// The limits of the host's own namespace.
    Facts,
    /// The sockets, processes and namespaces of the host.
    Survey,
    /// Watch the counters of these namespaces: records have named them for the first time. No answer is expected.
    Namespaces(Vec<u32>),
}

/// The topics of the questions that no record waits for. At most one question of a topic is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// [`Question::Owners`].
    Owners,
    /// [`Question::Ports`].
    Ports,
    /// [`Question::Hints`].
    Hints,
    /// [`Question::Facts`].
    Facts,
    /// [`Question::Survey`].
    Survey,
    /// [`Question::Namespaces`].
    Namespaces,
}

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Question::Process`].
    Process {
        /// The process of the question.
        pid: u32,
        /// The start of the question.
        start_ns: u64,
        /// The result.
        found: Found,
    },
    /// To [`Question::Symbol`]: the name; `None` if unknown.
    Symbol(u64, Option<String>),
    /// To [`Question::Stack`].
    Stack {
        /// Its number in the record.
        number: u16,
        /// The call that dropped the packet.
        location: u64,
        /// From that call outwards; `None` if the stack is unavailable.
        frames: Option<Vec<String>>,
    },
    /// To [`Question::Holding`]: the inode number and its holders, oldest first.
    Holding(u64, Vec<u32>),
    /// To [`Question::Owners`].
    Owners {
        /// The processes that hold the sockets.
        processes: Vec<ProcessSnapshot>,
        /// The sockets.
        holders: Holders,
    },
    /// To [`Question::Ports`].
    Ports {
        /// The processes that hold the ports.
        processes: Vec<ProcessSnapshot>,
        /// The sockets at the ports.
        ports: Vec<AtPort>,
    },
    /// To [`Question::Hints`], for some of the drops.
    Hints(#[serde(with = "forms::hints")] Vec<Explained>),
    /// To [`Question::Facts`].
    Facts(Facts),
    /// To [`Question::Survey`].
    Survey(Box<Survey>),
}

/// The result of a look at a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "almost all of them are seen")]
pub enum Found {
    /// The process that has the number now.
    Seen(ProcessSnapshot),
    /// No process has the number, or it is ending.
    Gone,
    /// The look took too long.
    Late,
}

impl<G: Gate> Correlation<G> {
    /// The questions to be answered before `record` is applied.
    #[must_use]
    pub(super) fn before(&self, record: &Record<'_>) -> [Option<Question>; 3] {
        match record {
            Record::Drop(_) | Record::Segment(..) => {
                let wanted = self.wants_of_packet(record);
                [
                    wanted.symbol.map(Question::Symbol),
                    wanted.stack.map(|(number, location)| Question::Stack { number, location }),
                    wanted.holders.map(Question::Holding),
                ]
            }
            Record::Socket(..) => [self.wants(record), None, None],
            Record::Close(_) | Record::Fork(_) | Record::Exec(_) | Record::Exit(_) => [None, None, None],
        }
    }

    /// Whether there is a question of this topic.
    #[must_use]
    pub fn has_question(&self, topic: Topic) -> bool {
        match topic {
            Topic::Owners => self.unowned || self.unbound_unasked,
            Topic::Ports => self.asks_for_ports(),
            Topic::Hints => self.waits_for_hints(),
            Topic::Facts => true,
            // The core as a whole answers: only it knows whether causes are wanted.
            Topic::Survey => false,
            Topic::Namespaces => self.discards.has_fresh_namespaces(),
        }
    }

    /// The current question of this topic. Ask for the next one once this one is answered.
    pub fn question(&mut self, topic: Topic) -> Option<Question> {
        if !self.has_question(topic) {
            return None;
        }
        match topic {
            Topic::Owners => {
                let (tuples, unbound) = (self.unowned(), self.unbound());
                (!tuples.is_empty() || !unbound.is_empty()).then_some(Question::Owners { tuples, unbound })
            }
            Topic::Ports => Some(Question::Ports(self.wanted_ports())),
            Topic::Hints => Some(Question::Hints(self.wanted_hints())),
            Topic::Facts => Some(Question::Facts),
            Topic::Survey => Some(Question::Survey),
            Topic::Namespaces => Some(Question::Namespaces(self.discards.take_fresh_namespaces())),
        }
    }

    /// Whether events wait for an answer.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.waits_for_hints() || self.waits_for_ports()
    }

    pub(super) fn answer(&mut self, answer: Answer, sink: &mut dyn Sink) {
        match answer {
            Answer::Process { pid, start_ns, found } => self.processes.answer(pid, start_ns, found),
            Answer::Symbol(address, name) => self.packets.learn_symbol(address, name.as_deref()),
            Answer::Stack { number, location, frames } => self.packets.learn_stack(number, location, frames),
            Answer::Holding(inode, pids) => self.learn_holders(inode, &pids),
            Answer::Owners { processes, holders } => {
                self.take_processes(processes);
                self.take_holders(&holders);
                self.take_ports(&holders, sink);
            }
            Answer::Ports { processes, ports } => {
                self.take_processes(processes);
                self.learn_ports(&ports, sink);
            }
            Answer::Hints(answers) => self.learn_hints(answers, sink),
            // Only findings and causes use them.
            Answer::Facts(_) | Answer::Survey(_) => {}
        }
    }

    fn take_processes(&mut self, processes: Vec<ProcessSnapshot>) {
        for process in processes {
            self.processes.snapshot(process);
        }
    }
}
