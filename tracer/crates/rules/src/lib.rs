//! Which rule, queueing discipline, neighbour or program dropped a packet, as far as the packet and the tables of its
//! namespace show. Others read the tables; this crate does no I/O.

pub mod hint;
pub mod netfilter;
