//! The request for a picture.

use super::order;
use super::proto::Protos;

/// Sources of tables and holders. Each but the first forces one source, for comparisons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Via {
    /// The best that works here
    #[default]
    Auto,
    /// BPF iterators; before 6.2 sock_diag for the tables
    Bpf,
    /// sock_diag for the tables, /proc for the holders
    Netlink,
    /// /proc alone
    Proc,
}

/// A request for a picture.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// The protocols.
    pub protos: Protos,
    /// Whether to read the figures of TCP connections.
    pub details: bool,
    /// Whether to read connections in `TIME_WAIT`, too; /proc and the iterators have them anyway.
    pub time_wait: bool,
    /// The source.
    pub via: Via,
    /// Whether to read all facts of the owners, not only their names.
    pub facts: bool,
    /// The order; `None`: unsorted.
    pub order: Option<order::Key>,
}
