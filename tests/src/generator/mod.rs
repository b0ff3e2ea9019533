//! Drives processes that make connections, and keeps the facts about them.

mod actor;
mod fact;
mod pair;

pub use actor::{Actor, Address, Builder, Pending, Reply, traffic, traffic_program};
pub use fact::{Fact, Process, Role, Source};
pub use pair::{Listener, Pair};
