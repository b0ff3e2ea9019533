//! The sockets with a port, in any state, including those that are merely bound.

use serde::{Deserialize, Serialize};
use tracer_common::record::Tuple;

use crate::tuple::TupleForm;

/// A socket with a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Addresses and ports; the namespace is 0.
    #[serde(with = "TupleForm")]
    pub tuple: Tuple,
    /// Whether it is a TCP socket that listens.
    pub listens: bool,
    /// Whether an IPv6 socket refuses IPv4; `None` where the kernel does not report it.
    pub v6only: Option<bool>,
    /// Inode of its file; 0 if it has none.
    pub inode: u64,
}
