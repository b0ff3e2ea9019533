//! Several programs for the same work. The kernel does not run a program on a CPU where the same program has begun
//! and not ended (tracepoints from 6.2 on, commit 05b24ff9b2cf; functions always), so a single program misses calls.
//! The others are attached to the same place; each [`Lane`] is one of them.
//!
//! Where only a softirq can interrupt a program, two are enough ([`second`]). From 7.0 on the kernel may preempt a task
//! in the middle of a program, for as long as others want the CPU, and the program misses all that they do meanwhile.
//! There [`LANES`](tracer_common::settings::LANES) programs are attached ([`preempted`]), and for the most frequent
//! calls another one, in which the kernel preempts no task ([`ahead`]).

pub mod ahead;
pub mod preempted;
pub mod second;

use tracer_common::settings::LANES;

/// One of the programs that do the same work.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Lane {
    /// The regular program; the others stand in for it.
    First = 0,
    Second = 1,
    Third = 2,
    /// The program called before all the others; see [`ahead`].
    Ahead = 3,
}

/// The number of programs.
pub const PROGRAMS: u32 = LANES + 1;
