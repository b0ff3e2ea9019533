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

    /// Who listens where a child with this tuple came in; in any namespace, if its own is not known.
    /// `None` also where several processes share
    /// the port (`SO_REUSEPORT`) and nothing tells which of them it was.
    #[must_use]
    pub fn owner(&self, child: &Tuple) -> Option<&Rc<Owner>> {
        if child.netns == 0 {
            let anywhere = self.by_port.iter().filter(|((_, port), _)| *port == child.lport);
            return the_one_owner(anywhere.flat_map(|(_, list)| list), child);
        }
        the_one_owner(self.by_port.get(&(child.netns, child.lport))?.iter(), child)
    }
}

/// The process that owns all of these listeners that `child` can have come in by: those at its own
/// address, else those at any.
fn the_one_owner<'a>(list: impl Iterator<Item = &'a Listener> + Clone, child: &Tuple) -> Option<&'a Rc<Owner>> {
    let of = |laddr: [u32; 4]| list.clone().filter(move |l| l.family == child.family && l.laddr == laddr);
    let mut candidates = of(child.laddr).map(|listener| &listener.owner).collect::<Vec<_>>();
    if candidates.is_empty() {
        candidates = of([0; 4]).map(|listener| &listener.owner).collect();
    }
    let first = *candidates.first()?;
    candidates.iter().all(|owner| owner.pid == first.pid).then_some(first)
}
