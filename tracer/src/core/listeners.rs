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
    /// `None` if nobody is known to, or if different processes share the port (`SO_REUSEPORT`) and
    /// nothing tells which of them it was.
    #[must_use]
    pub fn owner(&self, child: &Tuple) -> Option<&Rc<Owner>> {
        let (first, mut others) = self.candidates(child, child.netns == 0)?;
        others.all(|other| other.owner.pid == first.owner.pid).then_some(&first.owner)
    }

    /// The number of the only listener that a packet to this tuple's local end can be for. A packet of an
    /// unknown namespace is for none that is known: a listener elsewhere may have the same port.
    #[must_use]
    pub fn find(&self, child: &Tuple) -> Option<u64> {
        let (only, mut others) = self.candidates(child, false)?;
        others.next().is_none().then_some(only.id)
    }

    /// The first one and the others, in the child's namespace or `anywhere`. An exact address goes before
    /// any; a socket of IPv6 takes IPv4, too.
    fn candidates(&self, child: &Tuple, anywhere: bool) -> Option<(&Listener, impl Iterator<Item = &Listener>)> {
        let (netns, port) = (child.netns, child.lport);
        let here = self.by_port.get(&(netns, port)).filter(|_| !anywhere);
        let anywhere = anywhere.then(|| self.by_port.iter().filter(move |((_, known), _)| *known == port));
        let list = anywhere.into_iter().flatten().flat_map(|(_, list)| list).chain(here.into_iter().flatten());
        [(child.family, child.laddr), (child.family, [0; 4]), (6, [0; 4])].into_iter().find_map(|(family, laddr)| {
            let mut fitting = list.clone().filter(move |known| known.family == family && known.laddr == laddr);
            Some((fitting.next()?, fitting))
        })
    }
}
