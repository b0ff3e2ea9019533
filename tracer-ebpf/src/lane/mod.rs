//! What a program does not see because it is at work: the kernel does not run one once more on a CPU on which
//! it has begun and not ended (tracepoints from 6.2 on, commit 05b24ff9b2cf; functions always). So the same
//! work has several programs, attached to the same place; each [`Lane`] is one of them.
//!
//! Where a program can only be interrupted by a softirq, two are enough ([`second`]). From 7.0 on a task may be
//! preempted in the middle of one, for as long as others want the CPU, and all that they do meanwhile is kept
//! from it: there stand [`LANES`](tracer_common::settings::LANES) ([`preempted`]), and for what happens most one more
//! program, in which no task is preempted ([`ahead`]).

pub mod ahead;
pub mod preempted;
pub mod second;

use tracer_common::settings::LANES;

/// One of the programs that do the same work.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Lane {
    /// The one that the others stand in for.
    First = 0,
    Second = 1,
    Third = 2,
    /// Called before them all; see [`ahead`].
    Ahead = 3,
}

/// How many there are.
pub const PROGRAMS: u32 = LANES + 1;
