//! Drop events of packets that the kernel's counters count, too.

use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use tracer_tables::discards::{
    Look,
    counter::{COUNTERS, Counter, Group},
};

/// The most entries of one counter of one namespace.
const MOST: usize = 512;
/// Equal drops within this time are one entry.
const TOGETHER_NS: u64 = 100_000_000;
/// The longest time between a count and its drop event: a program has to run in between.
const LATE_NS: u64 = 1_000_000;
/// A drop event older than the previous look by this time matches no counter that moved since.
const OLD_NS: u64 = 1_000_000_000;

/// One or several dropped packets.
#[derive(Clone, Debug, Default)]
pub struct Drops {
    /// The namespace; `None` if unknown.
    pub netns: Option<u32>,
    /// Time of the first and the last.
    pub first_ns: u64,
    /// See `first_ns`.
    pub last_ns: u64,
    /// Number of packets.
    pub count: u64,
    /// Local port.
    pub port: Option<u16>,
    /// Its device.
    pub iface: Option<Rc<str>>,
    /// Number of the protocol and 4 or 6; `None` if unknown.
    pub protocol: Option<(u8, u8)>,
}

/// See the module.
#[derive(Default)]
pub struct Told {
    by_counter: HashMap<(u32, usize), VecDeque<Drops>>,
    /// By reason and, without one, call site: the places of counters that count the same.
    same: HashMap<(u32, u64), Rc<[usize]>>,
}

impl Told {
    /// Adds drops of a reason. `key` stands for the reason, and for the function if there is no reason.
    pub fn add(&mut self, key: (u32, u64), reason: Option<&str>, function: &str, drops: &Drops) {
        let same = self.same.entry(key).or_insert_with(|| {
            let tells = |(at, counter): (usize, &Counter)| counter.tells_of(reason, function).then_some(at);
            COUNTERS.iter().enumerate().filter_map(tells).collect()
        });
        for at in Rc::clone(same).iter() {
            if !COUNTERS.get(*at).is_some_and(|counter| is_about(counter, drops.protocol)) {
                continue;
            }
            let entries = self.by_counter.entry((drops.netns.unwrap_or(0), *at)).or_default();
            match entries.back_mut() {
                Some(last)
                    if last.port == drops.port
                        && last.iface == drops.iface
                        && drops.last_ns < last.first_ns.saturating_add(TOGETHER_NS) =>
                {
                    last.count += drops.count;
                    last.first_ns = last.first_ns.min(drops.first_ns);
                    last.last_ns = last.last_ns.max(drops.last_ns);
                }
                _ => {
                    if entries.len() >= MOST {
                        entries.pop_front();
                    }
                    entries.push_back(drops.clone());
                }
            }
        }
    }

    /// Takes up to `most` drops that `counter` counted until `look`; each is given once. Takes those of `port` or of an
    /// unknown port, and those of `device`.
    pub fn take(
        &mut self,
        look: &Look,
        counter: &'static Counter,
        port: Option<u16>,
        device: Option<&str>,
        most: u64,
    ) -> u64 {
        let Some(at) = COUNTERS.iter().position(|other| other.name == counter.name) else { return 0 };
        let mut left = most;
        let netns = look.netns.unwrap_or(0);
        // A drop without a namespace may be of any.
        let places = if netns == 0 { &[0][..] } else { &[netns, 0][..] };
        for netns in places {
            let Some(entries) = self.by_counter.get_mut(&(*netns, at)) else { continue };
            entries.retain(|drops| drops.count > 0 && drops.last_ns.saturating_add(OLD_NS) >= look.since_ns);
            for drops in entries.iter_mut() {
                let fits = drops.first_ns <= look.boot_ns.saturating_add(LATE_NS)
                    && (port.is_none() || drops.port.is_none() || drops.port == port)
                    && (counter.group != Group::Device || drops.iface.as_deref() == device);
                if fits {
                    let taken = drops.count.min(left);
                    drops.count -= taken;
                    left -= taken;
                }
            }
        }
        most - left
    }
}

/// Whether `counter` may count packets of this protocol; an unknown protocol may.
fn is_about(counter: &Counter, protocol: Option<(u8, u8)>) -> bool {
    let Some((protocol, family)) = protocol else { return true };
    let (tcp, udp) = (libc::IPPROTO_TCP, libc::IPPROTO_UDP);
    let number = i32::from(protocol);
    match counter.group {
        Group::Listener => number == tcp,
        Group::TcpExt => number == tcp || counter.column == "IPReversePathFilter",
        Group::Udp => number == udp && family == 4,
        Group::Udp6 => number == udp && family == 6,
        Group::Conntrack | Group::Softnet | Group::Device | Group::Qdisc => true,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use tracer_tables::discards::counter::{OVERFLOWS, RX_DROPPED, UDP_FULL, by_name};

    const SECOND: u64 = 1_000_000_000;

    fn look(since_s: u64, until_s: u64) -> Look {
        Look { since_ns: since_s * SECOND, boot_ns: until_s * SECOND, netns: Some(7), ..Look::default() }
    }

    fn drops(at_s: u64, count: u64) -> Drops {
        let at = at_s * SECOND + SECOND / 2;
        Drops {
            netns: Some(7),
            first_ns: at,
            last_ns: at,
            count,
            port: Some(80),
            protocol: Some((17, 4)),
            ..Drops::default()
        }
    }

    #[test]
    fn each_drop_is_subtracted_once() {
        let full = by_name(UDP_FULL[0]).unwrap();
        let mut told = Told::default();
        told.add((1, 0), Some("SOCKET_RCVBUFF"), "", &drops(10, 5));
        assert_eq!(told.take(&look(10, 11), full, Some(81), None, 9), 0, "another socket's");
        assert_eq!(told.take(&look(10, 11), full, Some(80), None, 3), 3);
        assert_eq!(told.take(&look(10, 11), full, None, None, 9), 2);
        assert_eq!(told.take(&look(10, 11), full, None, None, 9), 0);
    }

    #[test]
    fn only_what_a_counter_counts_is_subtracted_from_it() {
        let mut told = Told::default();
        told.add((1, 0), Some("SOCKET_RCVBUFF"), "", &drops(10, 5));
        for other in [UDP_FULL[1], OVERFLOWS, RX_DROPPED] {
            assert_eq!(told.take(&look(10, 11), by_name(other).unwrap(), None, None, 9), 0, "{other}");
        }
        let elsewhere = Look { netns: Some(8), ..look(10, 11) };
        assert_eq!(told.take(&elsewhere, by_name(UDP_FULL[0]).unwrap(), None, None, 9), 0);
    }

    #[test]
    fn what_was_told_long_ago_is_of_other_packets() {
        let full = by_name(UDP_FULL[0]).unwrap();
        let mut told = Told::default();
        told.add((1, 0), Some("SOCKET_RCVBUFF"), "", &drops(10, 5));
        assert_eq!(told.take(&look(5, 8), full, None, None, 9), 0, "it comes later");
        assert_eq!(told.take(&look(20, 21), full, None, None, 9), 0, "it came before");
    }

    #[test]
    fn a_kernel_without_reasons_has_call_sites() {
        let mut told = Told::default();
        told.add((u32::MAX, 77), None, "__udp_queue_rcv_skb", &drops(10, 5));
        assert_eq!(told.take(&look(10, 11), by_name(UDP_FULL[0]).unwrap(), None, None, 9), 5);
    }

    #[test]
    fn drops_of_no_known_place_may_be_of_any() {
        let mut told = Told::default();
        let mixed = Drops { netns: None, port: None, protocol: None, ..drops(10, 4) };
        told.add((1, 0), Some("TCP_LISTEN_OVERFLOW"), "", &mixed);
        assert_eq!(told.take(&look(10, 11), by_name(OVERFLOWS).unwrap(), Some(443), None, 9), 4);
    }
}
