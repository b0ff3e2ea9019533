//! The part of a filter that the kernel side decides.
//!
//! It never rejects what [`Filter`] would pass: the agent decides the rest, which a map cannot express or has no room
//! for. The kernel side passes unknown values (a port or a namespace that reads 0) and, with
//! [`FILTER_ROLE`](settings::FILTER_ROLE), an unknown role.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tracer_common::record::RecordRole;
use tracer_common::settings::{self, PrefixKey4, PrefixKey6};
use tracer_stream::Role;

use super::choice::Choice;
use super::parse::{PortRange, Prefix};
use super::{Filter, NamedNetns};

/// Room in the map of processes.
pub const MOST_PIDS: usize = 1 << 16;
/// Room in the maps of users and namespaces.
pub const MOST_VALUES: usize = 256;
/// Room in each map of prefixes.
pub const MOST_PREFIXES: usize = 1024;
/// The number of ports.
pub const PORTS: usize = 1 << 16;

/// A cgroup of the v2 hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupId {
    /// `bpf_get_current_ancestor_cgroup_id` of its processes at `level`.
    pub id: u64,
    /// Number of levels below the root.
    pub level: u32,
}

/// The filter as the loader writes it into settings and maps.
#[derive(Clone, Debug, Default)]
pub struct KernelFilter {
    /// `FILTER_*` of [`settings`].
    pub filters: u32,
    /// 4 or 6, with `FILTER_FAMILY`.
    pub family: u32,
    /// A [`RecordRole`], with `FILTER_ROLE`.
    pub role: u32,
    /// With `FILTER_PID`: the processes, and with `FILTER_FOLLOW` their living descendants.
    pub pids: Vec<u32>,
    /// With `FILTER_UID`.
    pub uids: Vec<u32>,
    /// With `FILTER_NETNS`; always includes 0, which stands for an unreadable namespace.
    pub netns: Vec<u32>,
    /// With `FILTER_CGROUP`.
    pub cgroup: Option<CgroupId>,
    /// With `FILTER_*PORT`: `PORT_*` bits by port.
    pub ports: Option<Box<[u8; PORTS]>>,
    /// With `FILTER_*ADDR`: `PREFIX_*` bits by prefix; the longest that fits counts.
    pub prefixes4: Vec<(PrefixKey4, u32)>,
    /// The same for IPv6. v4-mapped addresses are looked up as IPv4.
    pub prefixes6: Vec<(PrefixKey6, u32)>,
}

impl KernelFilter {
    /// The part of `filter` that the kernel can decide. `cgroup` finds a cgroup by its path.
    #[must_use]
    pub fn compile(filter: &Filter, cgroup: impl Fn(&str) -> Option<CgroupId>) -> Self {
        let mut kernel = Self::default();
        if let Some(family) = filter.family {
            kernel.filters |= settings::FILTER_FAMILY;
            kernel.family = family.into();
        }
        if filter.no_loopback {
            kernel.filters |= settings::FILTER_NO_LOOPBACK;
        }
        kernel.role(&filter.role);
        kernel.processes(filter, cgroup);
        if let Some(netns) = wanted(&inodes(&filter.netns), MOST_VALUES - 1) {
            kernel.filters |= settings::FILTER_NETNS;
            kernel.netns = netns;
            kernel.netns.push(0);
        }
        kernel.ports(filter);
        kernel.addresses(filter);
        kernel
    }

    /// Expresses a choice of one role; an unknown role is then never among the wanted ones.
    fn role(&mut self, choice: &Choice<Role>) {
        let known = [
            (Role::Client, RecordRole::Client),
            (Role::Server, RecordRole::Server),
            (Role::Listener, RecordRole::Listener),
        ];
        let mut passing = known.iter().filter(|(role, _)| choice.passes(|value| value == role));
        if !choice.passes(|value| *value == Role::Unknown)
            && let (Some((_, role)), None) = (passing.next(), passing.next())
        {
            self.filters |= settings::FILTER_ROLE;
            self.role = *role as u32;
        }
    }

    fn processes(&mut self, filter: &Filter, cgroup: impl Fn(&str) -> Option<CgroupId>) {
        if let Some(pids) = &filter.pids {
            let pids = pids.alive();
            if pids.len() <= MOST_PIDS {
                self.filters |= settings::FILTER_PID;
                self.pids = pids;
                if filter.follow {
                    self.filters |= settings::FILTER_FOLLOW;
                }
            }
        }
        if let Some(uids) = wanted(&filter.uid, MOST_VALUES) {
            self.filters |= settings::FILTER_UID;
            self.uids = uids;
        }
        if let [path] = filter.cgroup.include.as_slice() {
            self.cgroup = cgroup(&path.0);
            if self.cgroup.is_some() {
                self.filters |= settings::FILTER_CGROUP;
            }
        }
    }

    fn ports(&mut self, filter: &Filter) {
        let sides = Sides { either: &filter.port, local: &filter.lport, remote: &filter.rport };
        let bits = sides.filters([settings::FILTER_PORT, settings::FILTER_LPORT, settings::FILTER_RPORT]);
        if bits == 0 {
            return;
        }
        self.filters |= bits;
        let values = [settings::PORT_ANY, settings::PORT_LOCAL, settings::PORT_REMOTE].map(u32::from);
        let mut table = Box::new([0; PORTS]);
        for (port, entry) in (0..=u16::MAX).zip(table.iter_mut()) {
            // Three bits. Port 0 is an unknown port, or a listener's remote one.
            let allowed =
                if port == 0 { values.iter().sum() } else { sides.allowed(|p: &PortRange| p.contains(port), values) };
            *entry = allowed as u8;
        }
        self.ports = Some(table);
    }

    fn addresses(&mut self, filter: &Filter) {
        let sides = Sides { either: &filter.addr, local: &filter.laddr, remote: &filter.raddr };
        let bits = sides.filters([settings::FILTER_ADDR, settings::FILTER_LADDR, settings::FILTER_RADDR]);
        let values = [settings::PREFIX_ANY, settings::PREFIX_LOCAL, settings::PREFIX_REMOTE];
        // Only the longest prefix counts, so each one must include the values of those that cover it. An address
        // without another prefix falls to the one of length 0.
        let mut prefixes: Vec<Prefix> = sides.lists().into_iter().flatten().copied().collect();
        let unspecified = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        prefixes.extend(unspecified.map(|addr| Prefix::new(addr, 0)));
        // The unknown address, or a listener's remote one.
        let [zero4, zero6] = unspecified.map(|addr| Prefix::new(addr, if addr.is_ipv4() { 32 } else { 128 }));
        prefixes.extend([zero4, zero6]);
        prefixes.sort_unstable_by_key(|prefix| (prefix.addr(), prefix.bits()));
        prefixes.dedup();
        for prefix in prefixes {
            let allowed = if prefix == zero4 || prefix == zero6 {
                values.iter().sum()
            } else {
                sides.allowed(|other: &Prefix| other.covers(&prefix), values)
            };
            let bits = prefix.bits().into();
            match prefix.addr() {
                IpAddr::V4(addr) => self.prefixes4.push((PrefixKey4 { bits, addr: addr.octets() }, allowed)),
                IpAddr::V6(addr) => self.prefixes6.push((PrefixKey6 { bits, addr: addr.octets() }, allowed)),
            }
        }
        if bits == 0 || self.prefixes4.len() > MOST_PREFIXES || self.prefixes6.len() > MOST_PREFIXES {
            self.prefixes4.clear();
            self.prefixes6.clear();
        } else {
            self.filters |= bits;
        }
    }

    /// The table of ports as the entries of the kernel's map: index and value, sixteen ports of
    /// four bits each. Only entries with a bit set.
    pub fn port_words(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        let table = self.ports.as_deref().map_or(&[][..], |table| &table[..]);
        (0..).zip(table.chunks(16)).filter_map(|(index, ports)| {
            let word = ports.iter().rev().fold(0, |word, bits| word << 4 | u64::from(*bits));
            (word != 0).then_some((index, word))
        })
    }
}

/// The wanted values without the excluded ones, if there are any wanted ones and no more than
/// `most`. A map of wanted values cannot express "all but".
fn wanted(choice: &Choice<u32>, most: usize) -> Option<Vec<u32>> {
    if choice.include.is_empty() {
        return None;
    }
    let mut values: Vec<u32> = choice.include.iter().copied().filter(|v| !choice.exclude.contains(v)).collect();
    values.sort_unstable();
    values.dedup();
    (values.len() <= most).then_some(values)
}

/// The current inode numbers.
fn inodes(choice: &Choice<NamedNetns>) -> Choice<u32> {
    let inodes = |named: &[NamedNetns]| named.iter().map(NamedNetns::inode).collect();
    Choice { include: inodes(&choice.include), exclude: inodes(&choice.exclude) }
}

/// The options for either side, the local and the remote one.
struct Sides<'a, T> {
    either: &'a Choice<T>,
    local: &'a Choice<T>,
    remote: &'a Choice<T>,
}

impl<T> Sides<'_, T> {
    /// The needed filters. A value that must be on neither side is excluded on both: a kernel filter on either side is
    /// content with one good side.
    fn filters(&self, [either, local, remote]: [u32; 3]) -> u32 {
        let on_both = !self.either.exclude.is_empty();
        let mut filters = 0;
        if !self.either.include.is_empty() {
            filters |= either;
        }
        if on_both || !self.local.is_empty() {
            filters |= local;
        }
        if on_both || !self.remote.is_empty() {
            filters |= remote;
        }
        filters
    }

    fn lists(&self) -> [&Vec<T>; 6] {
        let Self { either, local, remote } = self;
        [&either.include, &either.exclude, &local.include, &local.exclude, &remote.include, &remote.exclude]
    }

    /// The sides on which a value is allowed, as the sum of the three `bits`.
    fn allowed(&self, matches: impl Fn(&T) -> bool, [either, local, remote]: [u32; 3]) -> u32 {
        let nowhere = self.either.exclude.iter().any(&matches);
        let mut bits = 0;
        for (choice, bit) in [(self.either, either), (self.local, local), (self.remote, remote)] {
            if !nowhere && choice.passes(&matches) {
                bits |= bit;
            }
        }
        bits
    }
}

#[cfg(test)]
mod tests;
