//! The agent of tracer: see ARCHITECTURE.md for the picture.

pub mod cli;
pub mod command;
pub mod filter;
pub mod process;
pub mod trace;

use process::{allocator, stderr};
use trace::snapshot;

pub use tracer_host::{clock, net, netlink, proc, readers, sockets};
pub use tracer_tables::discards;
pub use tracer_view::drops;
pub use {
    tracer_core as core, tracer_explain as explain, tracer_kernel as kernel, tracer_privilege as privilege,
    tracer_stream as stream, tracer_view as view,
};
