//! One module a subcommand, and what they share.

pub mod completions;
pub mod destination;
pub mod doctor;
pub mod drops;
pub mod explain;
pub mod live;
pub mod man;
pub mod net;
pub mod report;
pub mod run;
pub mod session;
pub mod sockets;

use anyhow::Context as _;

/// One thread: the ring has one reader, and the host has better things to do.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the event loop")
}
