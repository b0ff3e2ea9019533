//! The user's filter ([`tracer_filter`]), and how its names are looked up on this host.

pub mod cgroup;
mod lookup;

pub use tracer_filter::{
    Filter, FilterArgs, FilterError, LeftOut, Lookup, NamedNetns, Process, SOCKET_PROTOCOLS, WantedNetns,
    check_reasons, kernel, parse,
};

pub use self::lookup::Host;
