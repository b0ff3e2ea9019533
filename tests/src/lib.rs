//! The harness of the live tests: real traffic in network namespaces of its own, made by processes that report what
//! they did, compared with the stream that `tracer` prints.
//!
//! - [`traffic`] implements the `traffic` binary: sockets on demand, churn, short processes.
//! - [`generator`] drives such processes and keeps [`generator::Fact`]s about them.
//! - [`agent`] runs the tracer, [`stream`] queries its output, [`compare`] compares it with the facts.
//! - [`retold`] compares it with the stream of another run.
//! - [`scene`] is the start of most tests: namespaces, a client, a server, a trace.
//! - [`audit`] reads a tracer's account of itself.
//! - [`drops`] waits for dropped packets; [`segment`] makes some by hand, and [`frame`] malformed ones.
//! - [`tracepoint`] reads how often one of the kernel's tracepoints was hit.
//! - [`churn`] makes many connections and knows the number of their events.
//! - [`storm`] sends many datagrams that are dropped.
//! - [`many`] opens more connections than usual.
//! - [`busy`] is a namespace full of sockets, with the output of ss and the tracer about them.
//! - [`netns`] and [`wire`] make the networks, [`network`] one with a past.
//! - [`why`] runs `tracer why`.
//! - [`terminal`](mod@terminal) makes terminals of any width.
//! - [`stuck`] is a process whose memory cannot be read.
//! - [`process`] copies programs, reads the memory of other processes, and sends them signals.
//! - [`capability`] reads the rights of threads, and starts programs with fewer.
//! - [`alone`](mod@alone) keeps tests that need the machine for themselves from running beside others.
//! - [`apart`] gives a tracer mounts of its own, [`memory`] a limit; [`machine`] knows what a test may do to the whole
//!   machine.
//! - [`skip`] and [`feature`] know what a kernel may lack, [`reason`] its reasons for drops, [`scale`] the smaller
//!   loads of a slow machine.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test harness fails by panicking")]

pub mod agent;
pub mod alone;
pub mod apart;
pub mod audit;
pub mod bpf;
pub mod busy;
pub mod capability;
pub mod cgroup;
pub mod churn;
pub mod compare;
pub mod drops;
pub mod errno;
pub mod feature;
pub mod frame;
pub mod generator;
pub mod machine;
pub mod many;
pub mod memory;
pub mod netns;
pub mod network;
pub mod pid_ns;
pub mod process;
pub mod reason;
pub mod retold;
pub mod scale;
pub mod scene;
pub mod schema;
pub mod segment;
pub mod skip;
pub mod storm;
pub mod stream;
pub mod stuck;
pub mod terminal;
pub mod trace;
pub mod tracepoint;
pub mod traffic;
pub mod why;
pub mod wire;
