//! The harness of the live tests: real traffic in network namespaces of its own, made by processes
//! that know what they did, compared with the stream that `tracer` prints.
//!
//! - [`traffic`] is what the `traffic` binary does: sockets on demand, churn, short processes.
//! - [`generator`] drives such processes and keeps the [`generator::Fact`]s of what they did.
//! - [`agent`] runs the tracer, [`stream`] asks what it said, [`compare`] holds it against the facts.
//! - [`retold`] holds it against the stream of another run.
//! - [`scene`] is what most tests begin with: namespaces, a client, a server, a trace.
//! - [`audit`] reads the account that a tracer keeps of itself.
//! - [`drops`] waits for dropped packets; [`segment`] makes some by hand, and [`frame`] any nonsense.
//! - [`tracepoint`] asks the kernel how often one of its tracepoints was hit.
//! - [`churn`] makes many connections and knows how many events that are.
//! - [`many`] opens more connections than usual.
//! - [`busy`] is a namespace full of sockets, and what ss and the tracer say of them.
//! - [`netns`] and [`wire`] make the networks, [`network`] one with a past.
//! - [`stuck`] is a process whose memory cannot be read.
//! - [`capability`] asks what threads may do, and starts programs that may do less.
//! - [`apart`] gives a tracer mounts of its own, [`memory`] a limit; [`machine`] knows what may be done to
//!   the whole machine.
//! - [`skip`] and [`feature`] say what a kernel may lack, [`reason`] which reasons for drops it has,
//!   [`scale`] what a slow machine is spared.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test harness fails by panicking")]

pub mod agent;
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
pub mod reason;
pub mod retold;
pub mod scale;
pub mod scene;
pub mod segment;
pub mod skip;
pub mod stream;
pub mod stuck;
pub mod trace;
pub mod tracepoint;
pub mod traffic;
pub mod wire;
