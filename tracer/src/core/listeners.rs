//! Listening sockets, to say whose port a connection came in by before anybody has accepted it.

use std::{collections::HashMap, rc::Rc};

use tracer_common::record::Tuple;

use crate::stream::Owner;

struct Listener {
    id: u64,
    family: u8,
    laddr: [u32; 4],
    owner: Rc<Owner>,
}

/// By namespace and port.
#[derive(Default)]
pub struct Listeners {
    by_port: HashMap<(u32, u16), Vec<Listener>>,
}

impl Listeners {
    /// A socket listens.
    pub fn add(&mut self, id: u64, tuple: &Tuple, owner: &Rc<Owner>) {
        let list = self.by_port.entry((tuple.netns, tuple.lport)).or_default();
        list.retain(|listener| listener.id != id);
        list.push(Listener { id, family: tuple.family, laddr: tuple.laddr, owner: Rc::clone(owner) });
    }

    /// A listening socket is closed.
    pub fn remove(&mut self, id: u64, tuple: &Tuple) {
        if let Some(list) = self.by_port.get_mut(&(tuple.netns, tuple.lport)) {
            list.retain(|listener| listener.id != id);
            if list.is_empty() {
                self.by_port.remove(&(tuple.netns, tuple.lport));
            }
        }
    }

    /// Who listens where a child with this tuple came in. `None` also where several processes share
    /// the port (`SO_REUSEPORT`) and nothing tells which of them it was.
    #[must_use]
    pub fn owner(&self, child: &Tuple) -> Option<&Rc<Owner>> {
        let candidates = self.candidates(child);
        let first = candidates.first()?;
        candidates.iter().all(|other| other.owner.pid == first.owner.pid).then_some(&first.owner)
    }

    /// The number of the only listener that a packet to this tuple's local end can be for.
    #[must_use]
    pub fn find(&self, child: &Tuple) -> Option<u64> {
        match self.candidates(child).as_slice() {
            [only] => Some(only.id),
            _ => None,
        }
    }

    /// An exact address goes before any; a socket of IPv6 takes IPv4, too.
    fn candidates(&self, child: &Tuple) -> Vec<&Listener> {
        let Some(list) = self.by_port.get(&(child.netns, child.lport)) else { return Vec::new() };
        let of = |family: u8, laddr: [u32; 4]| {
            list.iter().filter(move |l| l.family == family && l.laddr == laddr).collect::<Vec<_>>()
        };
        let mut candidates = of(child.family, child.laddr);
        if candidates.is_empty() {
            candidates = of(child.family, [0; 4]);
        }
        if candidates.is_empty() && child.family == 4 {
            candidates = of(6, [0; 4]);
        }
        candidates
    }
}
