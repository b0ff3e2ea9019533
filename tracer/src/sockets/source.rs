//! How the picture is taken.

use super::order;
use super::proto::Protos;

/// Where the tables and the holders come from. Each but the first forces one way, for comparisons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Via {
    /// The best that works here
    #[default]
    Auto,
    /// BPF iterators
    Bpf,
    /// sock_diag for the tables, /proc for the holders
    Netlink,
    /// /proc alone
    Proc,
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Which protocols.
    pub protos: Protos,
    /// With the figures of TCP connections.
    pub details: bool,
    /// How.
    pub via: Via,
    /// With all that is known of the owners, not only their names.
    pub facts: bool,
    /// In which order; `None`: in none.
    pub order: Option<order::Key>,
}
