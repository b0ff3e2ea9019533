//! Listening sockets, to name the owner of an incoming connection before accept().

use std::{cmp::Reverse, collections::HashMap, rc::Rc};

use tracer_common::record::Tuple;
use tracer_stream::Owner;

use super::Connection;

struct Listener {
    id: u64,
    family: u8,
    laddr: [u32; 4],
    /// It takes no IPv4.
    v6only: bool,
    /// The device that it is bound to; 0 for all.
    ifindex: u32,
    owner: Option<Rc<Owner>>,
}

/// An arrival at a listener.
#[derive(Clone, Copy)]
enum Came<'a> {
    /// A connection: it has the family of its listener, and the device that the listener is bound to.
    Child(&'a Tuple),
    /// A packet, on an unknown device.
    Packet(&'a Tuple),
}

/// The place of a listener in the table.
struct Place {
    netns: u32,
    port: u16,
    inode: u64,
    owner: Option<Rc<Owner>>,
}

/// Listeners by namespace and port, by number and by inode.
#[derive(Default)]
pub struct Listeners {
    by_port: HashMap<(u32, u16), Vec<Listener>>,
    places: HashMap<u64, Place>,
    by_inode: HashMap<u64, u64>,
}

impl Listeners {
    /// Adds a listener.
    pub fn add(&mut self, id: u64, connection: &Connection) {
        let Connection { tuple, v6only, inode, owner, .. } = connection;
        self.add_known(id, tuple, *v6only, *inode, owner.as_ref());
    }

    /// Adds one of which only this is known. `inode`: 0 if unknown.
    pub fn add_known(&mut self, id: u64, tuple: &Tuple, v6only: Option<bool>, inode: u64, owner: Option<&Rc<Owner>>) {
        self.remove(id);
        let Tuple { family, laddr, ifindex, .. } = *tuple;
        let listener = Listener { id, family, laddr, v6only: v6only == Some(true), ifindex, owner: owner.cloned() };
        self.by_port.entry((tuple.netns, tuple.lport)).or_default().push(listener);
        self.places.insert(id, Place { netns: tuple.netns, port: tuple.lport, inode, owner: owner.cloned() });
        if inode != 0 {
            self.by_inode.insert(inode, id);
        }
    }

    /// Removes a listener.
    pub fn remove(&mut self, id: u64) {
        let Some(Place { netns, port, inode, .. }) = self.places.remove(&id) else { return };
        if self.by_inode.get(&inode) == Some(&id) {
            self.by_inode.remove(&inode);
        }
        if let Some(list) = self.by_port.get_mut(&(netns, port)) {
            list.retain(|listener| listener.id != id);
            if list.is_empty() {
                self.by_port.remove(&(netns, port));
            }
        }
    }

    /// The number of the listener with this inode.
    #[must_use]
    pub fn with_inode(&self, inode: u64) -> Option<u64> {
        self.by_inode.get(&inode).copied().filter(|_| inode != 0)
    }

    /// The owner of the listener through which a child with this tuple came in: the one with this `inode`, if known; in
    /// any namespace if the child's is unknown. `None` if there is no known owner, or if different processes share the
    /// port (`SO_REUSEPORT`) and nothing distinguishes them.
    #[must_use]
    pub fn owner(&self, child: &Tuple, inode: u64) -> Option<&Rc<Owner>> {
        if inode != 0 {
            return self.places.get(&self.with_inode(inode)?)?.owner.as_ref();
        }
        let mut fitting = self.fitting(Came::Child(child), child.netns == 0);
        let first = fitting.next()?.owner.as_ref()?;
        fitting.all(|other| other.owner.as_ref().is_some_and(|owner| owner.pid == first.pid)).then_some(first)
    }

    /// The owner of a listener at the local end that a socket wanted, or at one that makes it impossible: the address
    /// is the same, or one of the two is any. A listener on any address of IPv6 has IPv4, too, unless
    /// its option says otherwise.
    #[must_use]
    pub fn holder(&self, wanted: &Tuple) -> Option<&Rc<Owner>> {
        let list = self.by_port.get(&(wanted.netns, wanted.lport)).filter(|_| wanted.lport != 0)?;
        let any = [0; 4];
        let (family, laddr) = plain(wanted.family, wanted.laddr);
        // Each of two devices has the port.
        let device = |known: &&Listener| known.ifindex == 0 || wanted.ifindex == 0 || known.ifindex == wanted.ifindex;
        let same = |known: &&Listener| {
            let (of_known, its) = plain(known.family, known.laddr);
            of_known == family && (its == laddr || its == any || laddr == any)
        };
        let other = |known: &&Listener| {
            plain(known.family, known.laddr).0 != family
                && (known.family == 6 && known.laddr == any && !known.v6only
                    || wanted.family == 6 && wanted.laddr == any)
        };
        let here = || list.iter().filter(device);
        here().find(same).or_else(|| here().find(other)).and_then(|known| known.owner.as_ref())
    }

    /// The number of the only listener that a packet to this tuple's local end can be for. A packet of an unknown
    /// namespace fits none: a listener elsewhere may have the same port.
    #[must_use]
    pub fn find(&self, packet: &Tuple) -> Option<u64> {
        let mut fitting = self.fitting(Came::Packet(packet), false);
        let only = fitting.next()?;
        fitting.next().is_none().then_some(only.id)
    }

    /// The possible listeners, in the namespace or `anywhere`: among them, those that the kernel prefers
    /// (`compute_score` in `net/ipv4/inet_hashtables.c`).
    fn fitting(&self, came: Came<'_>, anywhere: bool) -> impl Iterator<Item = &Listener> {
        let (Came::Child(tuple) | Came::Packet(tuple)) = came;
        let (netns, port) = (tuple.netns, tuple.lport);
        let here = self.by_port.get(&(netns, port)).filter(|_| !anywhere);
        let anywhere = anywhere.then(|| self.by_port.iter().filter(move |((_, known), _)| *known == port));
        let list = anywhere.into_iter().flatten().flat_map(|(_, list)| list).chain(here.into_iter().flatten());
        let is_doubtful = move |listener: &&Listener| listener.ifindex != 0 && matches!(came, Came::Packet(_));
        let best = list.clone().filter(move |l| !is_doubtful(l)).filter_map(|l| preference(l, came)).min();
        list.filter(move |listener| match preference(listener, came) {
            // A listener bound to a device takes only its packets, and takes them from the others.
            Some((any, ..)) if is_doubtful(listener) => best.is_none_or(|(other_any, ..)| any <= other_any),
            Some(mine) => best == Some(mine),
            None => false,
        })
    }
}

/// The rank of a listener, lowest first; `None` if `came` cannot be for it.
fn preference(listener: &Listener, came: Came<'_>) -> Option<(bool, Reverse<bool>, bool)> {
    let (Came::Child(tuple) | Came::Packet(tuple)) = came;
    let any = listener.laddr == [0; 4];
    let same_family = listener.family == tuple.family;
    if !any && plain(listener.family, listener.laddr) != plain(tuple.family, tuple.laddr) {
        return None;
    }
    match came {
        // A socket of IPv6 takes IPv4, too, and then its child is one of IPv6.
        Came::Child(_) if !same_family => return None,
        Came::Child(_) if listener.ifindex != 0 && listener.ifindex != tuple.ifindex => return None,
        Came::Packet(_) if listener.v6only && plain(tuple.family, tuple.laddr).0 == 4 => return None,
        Came::Packet(_) if listener.family == 4 && plain(tuple.family, tuple.laddr).0 == 6 => return None,
        _ => {}
    }
    let other_family = listener.family != plain(tuple.family, tuple.laddr).0;
    Some((any, Reverse(listener.ifindex != 0), other_family))
}

/// The IPv4 address in a v4-mapped address, else the address itself.
pub fn plain(family: u8, addr: [u32; 4]) -> (u8, [u32; 4]) {
    match addr {
        [0, 0, mark, last] if family == 6 && mark == 0xffff_u32.to_be() => (4, [last, 0, 0, 0]),
        addr => (family, addr),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: [u32; 4] = [0x0100_007f, 0, 0, 0];
    const ANY: [u32; 4] = [0; 4];
    const MAPPED: [u32; 4] = [0, 0, 0xffff_u32.to_be(), 0x0100_007f];

    fn tuple(family: u8, laddr: [u32; 4], ifindex: u32) -> Tuple {
        Tuple { laddr, raddr: [0; 4], lport: 80, rport: 0, family, reserved: [0; 3], netns: 7, ifindex }
    }

    fn owner(pid: u32) -> Rc<Owner> {
        let facts = std::sync::Arc::default();
        Rc::new(Owner { uid: None, start_ns: None, facts, ..tracer_stream::sample::owner("", pid) })
    }

    fn listeners(all: &[(u64, Tuple)]) -> Listeners {
        let mut listeners = Listeners::default();
        for (id, tuple) in all {
            let pid = u32::try_from(*id).unwrap_or(0);
            listeners.add_known(*id, tuple, None, id + 100, Some(&owner(pid)));
        }
        listeners
    }

    fn pid(listeners: &Listeners, child: &Tuple, inode: u64) -> Option<u32> {
        listeners.owner(child, inode).map(|owner| owner.pid)
    }

    #[test]
    fn of_several_at_one_port_the_inode_tells() {
        let mut at = listeners(&[(1, tuple(4, ONE, 0)), (2, tuple(4, ONE, 0)), (3, tuple(4, ONE, 0))]);
        let child = tuple(4, ONE, 0);
        assert_eq!(pid(&at, &child, 102), Some(2));
        assert_eq!(pid(&at, &child, 0), None, "nothing tells");
        assert_eq!(at.find(&child), None);
        assert_eq!(pid(&at, &child, 104), None, "not that one");
        at.remove(2);
        assert_eq!(pid(&at, &child, 102), None);
        at.remove(3);
        assert_eq!((pid(&at, &child, 0), at.find(&child)), (Some(1), Some(1)));
    }

    #[test]
    fn several_of_one_process_are_one_owner() {
        let mut at = Listeners::default();
        for id in 1..4 {
            at.add_known(id, &tuple(4, ONE, 0), None, 0, Some(&owner(9)));
        }
        assert_eq!(pid(&at, &tuple(4, ONE, 0), 0), Some(9));
        at.add_known(4, &tuple(4, ONE, 0), None, 0, None);
        assert_eq!(pid(&at, &tuple(4, ONE, 0), 0), None, "one of them has an unknown owner");
    }

    #[test]
    fn the_address_goes_before_any_and_the_device_before_none() {
        let at = listeners(&[(1, tuple(4, ANY, 0)), (2, tuple(4, ONE, 0)), (3, tuple(4, ANY, 5))]);
        assert_eq!(pid(&at, &tuple(4, ONE, 0), 0), Some(2));
        assert_eq!(pid(&at, &tuple(4, [1, 0, 0, 0], 0), 0), Some(1));
        assert_eq!(pid(&at, &tuple(4, [1, 0, 0, 0], 5), 0), Some(3));
        assert_eq!(at.find(&tuple(4, [1, 0, 0, 0], 0)), None, "the device of a packet is not known");
        assert_eq!(at.find(&tuple(4, ONE, 0)), Some(2));
    }

    #[test]
    fn a_child_has_the_family_of_its_listener() {
        let at = listeners(&[(1, tuple(4, ANY, 0)), (2, tuple(6, ANY, 0))]);
        assert_eq!(pid(&at, &tuple(4, ONE, 0), 0), Some(1));
        assert_eq!(pid(&at, &tuple(6, MAPPED, 0), 0), Some(2));
        assert_eq!(at.find(&tuple(4, ONE, 0)), Some(1), "a packet is rather for its own family");
        assert_eq!(listeners(&[(2, tuple(6, ANY, 0))]).find(&tuple(4, ONE, 0)), Some(2));
        assert_eq!(listeners(&[(1, tuple(4, ANY, 0))]).find(&tuple(6, [9; 4], 0)), None);
    }

    #[test]
    fn one_that_takes_no_ipv4_has_none_of_it() {
        let mut at = Listeners::default();
        at.add_known(1, &tuple(6, ANY, 0), Some(true), 0, Some(&owner(1)));
        assert_eq!((at.find(&tuple(4, ONE, 0)), at.find(&tuple(6, MAPPED, 0))), (None, None));
        assert_eq!(at.find(&tuple(6, [1, 0, 0, 1], 0)), Some(1));
        assert!(at.holder(&tuple(4, ONE, 0)).is_none() && at.holder(&tuple(6, ANY, 0)).is_some());
        at.add_known(1, &tuple(6, ANY, 0), Some(false), 0, Some(&owner(1)));
        assert_eq!(at.find(&tuple(4, ONE, 0)), Some(1));
        assert!(at.holder(&tuple(4, ONE, 0)).is_some());
    }

    #[test]
    fn who_holds_a_port_has_the_same_address_on_the_same_device() {
        let held = |all: &[(u64, Tuple)], wanted: Tuple| listeners(all).holder(&wanted).map(|owner| owner.pid);
        let devices = [(1, tuple(4, ANY, 1)), (2, tuple(4, ANY, 2))];
        assert_eq!(held(&devices, tuple(4, ONE, 2)), Some(2));
        assert_eq!(held(&devices, tuple(4, ANY, 1)), Some(1));
        assert_eq!(held(&devices, tuple(4, ANY, 3)), None);
        assert!(held(&devices, tuple(4, ANY, 0)).is_some(), "either holds it");
        assert_eq!(held(&[(1, tuple(4, ONE, 0))], tuple(6, MAPPED, 0)), Some(1));
        assert_eq!(held(&[(1, tuple(6, MAPPED, 0))], tuple(4, ONE, 0)), Some(1));
        assert_eq!(held(&[(1, tuple(6, ANY, 0))], tuple(4, ONE, 0)), Some(1));
        assert_eq!(held(&[(1, tuple(6, MAPPED, 0))], tuple(6, [1, 0, 0, 1], 0)), None);
    }
}
