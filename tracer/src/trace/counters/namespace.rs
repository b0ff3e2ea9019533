//! One network namespace: the values of its counters, and their changes.

use std::{collections::HashMap, path::Path};

use log::debug;
use tracer_tables::discards::{
    Look, Moved, SocketLook,
    counter::{COUNTERS, Counter, Group, QDISC_DROPS, RX_DROPPED, RX_MISSED, by_name},
    numbers::{Columns, Numbers, udp6},
};

use crate::{
    clock,
    netlink::{self, Table},
    proc::{
        enter::Place,
        net::{
            Malformed,
            dev::{self, COLUMNS, Device},
            percpu,
        },
        netns::{Netns, NetnsError},
        visit::{Visitor, read_into},
    },
    sockets::diag::drops::{self, Account},
};

/// After this many looks without a packet through any device, the namespace is looked at every second second; after the
/// larger number, every fourth.
const STILL: u32 = 4;
const STILLER: u32 = 16;
/// One in this many looks asks for the queueing disciplines, which no file shows.
const QDISCS_EVERY: u32 = 10;

/// Buffers that all namespaces use in turn.
#[derive(Debug, Default)]
pub struct Buffers {
    /// A file.
    pub text: Vec<u8>,
    columns: Columns,
}

/// One network namespace.
#[derive(Debug)]
pub struct Namespace {
    /// The namespace, and a path to it.
    pub netns: Netns,
    /// No known path leads there any more.
    pub lost: bool,
    /// The device counters, as in the file.
    devices: Vec<u8>,
    seen: Option<Seen>,
    /// Time of the last look.
    looked_ns: u64,
    /// Number of looks without traffic since the last traffic.
    still: u32,
    /// Number of looks left out.
    skipped: u32,
    /// Number of looks with traffic since the queueing disciplines were read.
    moving: u32,
}

/// The values at the last look.
#[derive(Debug, Default)]
struct Seen {
    numbers: Numbers,
    /// By name of the device.
    devices: HashMap<String, Rx>,
    /// By device and handle.
    qdiscs: HashMap<(u32, u32, u32), u32>,
    /// `sk_drops` by cookie, of sockets that have some; `None` if the kernel does not report them.
    listeners: Option<HashMap<u64, u32>>,
    datagrams: Option<HashMap<u64, u32>>,
}

/// The discards of a device's receiving side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rx {
    /// The file's value, which includes `missed`.
    dropped: u64,
    fifo: u64,
    /// From netlink, if it was asked.
    missed: Option<u64>,
}

impl Namespace {
    /// A namespace without a look so far.
    #[must_use]
    pub fn new(netns: Netns) -> Self {
        Self { netns, lost: false, devices: Vec::new(), seen: None, looked_ns: 0, still: 0, skipped: 0, moving: 0 }
    }

    /// Whether it is due for a look now.
    pub fn is_due(&mut self) -> bool {
        let every = match self.still {
            0..STILL => 1,
            STILL..STILLER => 2,
            _ => 4,
        };
        self.skipped = (self.skipped + 1) % every;
        self.skipped == 0
    }

    /// Reads it once and returns the changes since the last time. `None` if the namespace is gone.
    ///
    /// # Errors
    /// If it can neither be entered nor read.
    pub fn look(&mut self, visitor: &Visitor, buffers: &mut Buffers) -> Result<Option<Option<Look>>, NetnsError> {
        let netns = self.netns.clone();
        let this = std::sync::Mutex::new((self, buffers));
        visitor.visit(&netns, |place| {
            // One thread at a time uses it; after a panic, none.
            let mut both = this.lock().ok()?;
            let (this, buffers) = &mut *both;
            this.look_at(place, buffers)
        })
    }

    fn look_at(&mut self, place: &Place, buffers: &mut Buffers) -> Option<Look> {
        let boot_ns = clock::boot_ns();
        read(place, "dev", &mut buffers.text)?;
        // If no packet went through any device, loopback included, nothing was discarded.
        if self.seen.is_some() && buffers.text == self.devices {
            self.still = self.still.saturating_add(1);
            self.looked_ns = boot_ns;
            return None;
        }
        (self.still, self.moving) = (0, self.moving + 1);
        std::mem::swap(&mut self.devices, &mut buffers.text);
        let devices = dev::read(self.devices.as_slice(), Path::new("dev"), &mut Malformed::default()).ok()?;
        let mut numbers = Numbers::default();
        for file in ["snmp", "netstat"] {
            if read(place, file, &mut buffers.text).is_some() {
                buffers.columns.pairs(&buffers.text, &mut numbers);
            }
        }
        if read(place, "snmp6", &mut buffers.text).is_some() {
            udp6(&buffers.text, &mut numbers);
        }
        conntrack(place, &mut buffers.text, &mut numbers);

        let mut look = Look {
            since_ns: std::mem::replace(&mut self.looked_ns, boot_ns),
            boot_ns: clock::boot_ns(),
            netns: Some(self.netns.inode),
            conntrack: None,
            moved: Vec::new(),
            sockets: Vec::new(),
        };
        let Some(seen) = &mut self.seen else {
            self.seen = Some(Seen::begin(place, numbers, &devices));
            return None;
        };
        for ((counter, before), now) in COUNTERS.iter().zip(seen.numbers.0).zip(numbers.0) {
            if let (Some(before), Some(now)) = (before, now)
                && now > before
            {
                look.moved.push(Moved { counter, device: None, before, now });
            }
        }
        seen.numbers = numbers;
        seen.devices(place, &devices, &mut look.moved);
        if self.moving >= QDISCS_EVERY {
            self.moving = 0;
            seen.qdiscs(place, &devices, &mut look.moved);
        }
        let moved = |groups: &[Group]| look.moved.iter().any(|moved| groups.contains(&moved.counter.group));
        let (listeners, datagrams) = (moved(&[Group::Listener]), moved(&[Group::Udp, Group::Udp6]));
        if moved(&[Group::Conntrack]) && place.inside {
            look.conntrack = fill(&mut buffers.text);
        }
        if listeners {
            sockets(place, drops::listeners, &mut seen.listeners, self.netns.inode, true, &mut look.sockets);
        }
        if datagrams {
            sockets(place, drops::datagrams, &mut seen.datagrams, self.netns.inode, false, &mut look.sockets);
        }
        (!look.moved.is_empty()).then_some(look)
    }
}

impl Seen {
    /// The initial values of a namespace.
    fn begin(place: &Place, numbers: Numbers, devices: &[Device]) -> Self {
        let counted = |groups: &[Group]| {
            COUNTERS.iter().zip(numbers.0).any(|(c, n)| groups.contains(&c.group) && n.is_some_and(|n| n > 0))
        };
        // If no such counter ever moved, no socket has discarded anything: no need to ask.
        let accounts = |asked: bool, ask: fn() -> std::io::Result<Vec<Account>>| {
            if asked {
                place.inside.then(ask)?.ok().map(|accounts| of_cookies(&accounts))
            } else {
                Some(HashMap::new())
            }
        };
        let mut seen = Self {
            listeners: accounts(counted(&[Group::Listener]), drops::listeners),
            datagrams: accounts(counted(&[Group::Udp, Group::Udp6]), drops::datagrams),
            numbers,
            ..Self::default()
        };
        seen.devices(place, devices, &mut Vec::new());
        seen.qdiscs(place, devices, &mut Vec::new());
        seen
    }

    fn devices(&mut self, place: &Place, devices: &[Device], moved: &mut Vec<Moved>) {
        let column = |device: &Device, name: &str| {
            COLUMNS
                .iter()
                .zip(device.counters)
                .find_map(|(column, value)| (*column == name).then_some(value))
                .unwrap_or(0)
        };
        let mut links = None;
        let mut now = HashMap::with_capacity(devices.len());
        for device in devices {
            let mut rx = Rx { dropped: column(device, "rx_dropped"), fifo: column(device, "rx_fifo"), missed: Some(0) };
            let old = self.devices.get(&device.name).copied();
            if rx.dropped > 0 {
                rx.missed = match old {
                    Some(old) if old.dropped == rx.dropped => old.missed,
                    _ if place.inside => {
                        let read = || netlink::links().map(|table: Table<_>| table.rows).unwrap_or_default();
                        let links = links.get_or_insert_with(read);
                        let link = links.iter().find(|link| link.name == device.name);
                        link.and_then(|link| Some(link.rx_dropped?.1))
                    }
                    _ => None,
                };
            }
            if let Some(old) = old.filter(|old| *old != rx) {
                let mut push = |name: &str, before: Option<u64>, now: Option<u64>| {
                    let counter: Option<&'static Counter> = by_name(name);
                    if let (Some(counter), Some(before), Some(now)) = (counter, before, now)
                        && now > before
                    {
                        moved.push(Moved { counter, device: Some(device.name.clone()), before, now });
                    }
                };
                // Missed packets cannot be separated without netlink's value.
                let apart = old.missed.zip(rx.missed);
                let dropped = |rx: &Rx, missed: Option<u64>| rx.dropped.checked_sub(missed.unwrap_or(0));
                push(RX_DROPPED, dropped(&old, apart.map(|both| both.0)), dropped(&rx, apart.map(|both| both.1)));
                push(RX_MISSED, apart.map(|both| both.0), apart.map(|both| both.1));
                push("rx_fifo", Some(old.fifo), Some(rx.fifo));
            }
            now.insert(device.name.clone(), rx);
        }
        self.devices = now;
    }

    fn qdiscs(&mut self, place: &Place, devices: &[Device], moved: &mut Vec<Moved>) {
        let Some(counter) = by_name(QDISC_DROPS).filter(|_| place.inside) else { return };
        let rows = match netlink::qdiscs() {
            Ok(table) => table.rows,
            Err(error) => return debug!("cannot read qdiscs: {error}"),
        };
        let mut sums: HashMap<u32, u64> = HashMap::new();
        let mut now = HashMap::with_capacity(rows.len());
        for row in rows {
            let Some(drops) = row.drops else { continue };
            let key = (row.ifindex, row.handle, row.parent);
            // A classful discipline counts the drops of its children, too.
            if let Some(before) = self.qdiscs.get(&key).filter(|_| row.is_root()) {
                *sums.entry(row.ifindex).or_default() += crate::net::change::change32(*before, drops);
            }
            now.insert(key, drops);
        }
        self.qdiscs = now;
        sums.retain(|_, sum| *sum > 0);
        if sums.is_empty() {
            return;
        }
        let links = netlink::links().map(|table| table.rows).unwrap_or_default();
        let name = |index| links.iter().find(|link| link.ifindex == index).map(|link| link.name.clone());
        moved.extend(sums.into_iter().filter_map(|(index, sum)| {
            let device = name(index).filter(|name| devices.iter().any(|device| device.name == *name))?;
            Some(Moved { counter, device: Some(device), before: 0, now: sum })
        }));
    }
}

/// Adds the sockets that discarded something since the last time.
fn sockets(
    place: &Place,
    ask: fn() -> std::io::Result<Vec<Account>>,
    known: &mut Option<HashMap<u64, u32>>,
    netns: u32,
    listens: bool,
    into: &mut Vec<SocketLook>,
) {
    let accounts = match place.inside.then(ask) {
        Some(Ok(accounts)) => accounts,
        Some(Err(error)) => return debug!("cannot ask sock_diag: {error}"),
        None => return,
    };
    if let Some(known) = known {
        for account in &accounts {
            let before = known.get(&account.cookie).copied().unwrap_or(0);
            if account.drops != before {
                let mut tuple = account.tuple;
                tuple.netns = netns;
                into.push(SocketLook {
                    tuple,
                    listens,
                    inode: account.inode,
                    before,
                    now: account.drops,
                    queue: account.queue,
                    holders: Vec::new(),
                });
            }
        }
    }
    *known = Some(of_cookies(&accounts));
}

fn of_cookies(accounts: &[Account]) -> HashMap<u64, u32> {
    accounts.iter().filter(|account| account.drops > 0).map(|account| (account.cookie, account.drops)).collect()
}

fn conntrack(place: &Place, text: &mut Vec<u8>, numbers: &mut Numbers) {
    let Some(table) = read(place, "stat/nf_conntrack", text)
        .and_then(|()| percpu::read(text.as_slice(), Path::new(""), &mut Malformed::default()).ok())
    else {
        return;
    };
    for (counter, number) in COUNTERS.iter().zip(&mut numbers.0).filter(|(c, _)| c.group == Group::Conntrack) {
        *number = table.sum(counter.column);
    }
}

/// The fill of conntrack's table, in the namespace that this thread has entered.
fn fill(text: &mut Vec<u8>) -> Option<(u64, u64)> {
    let mut number = |name: &str| {
        read_into(&Path::new("/proc/sys/net/netfilter").join(name), text).ok()?;
        std::str::from_utf8(text).ok()?.trim().parse().ok()
    };
    number("nf_conntrack_count").zip(number("nf_conntrack_max"))
}

fn read(place: &Place, file: &str, text: &mut Vec<u8>) -> Option<()> {
    read_into(&place.net.join(file), text).inspect_err(|error| debug!("{file}: {error}")).ok()
}
