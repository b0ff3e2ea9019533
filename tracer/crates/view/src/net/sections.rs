//! The parts of the page.

use std::net::{IpAddr, SocketAddr};

use super::page::{Cell, Column, Page};
use super::text::percent;
use super::{View, per_second};
use crate::ink::Ink;
use crate::unit::{Bytes, Count};
use tracer_host::net::change::{Change, Presence};
use tracer_host::net::health::{self, softnet_totals};
use tracer_host::net::sockets::{Owned, Owner, STATES, in_state};
use tracer_host::net::{Interface, Picture};
use tracer_host::proc::net::sockstat;
use tracer_stream::TcpState;

/// Rows of a page.
const INTERFACES: usize = 6;
const OWNERS: usize = 6;

/// The traffic of a device: the total, or per second.
struct Traffic {
    name: String,
    state: Cell,
    values: [u64; 16],
    addresses: String,
    idle: bool,
}

pub(super) fn interfaces(page: &mut Page, view: &View<'_>, all: bool) {
    let mut devices: Vec<Traffic> = match view.changes {
        None => view.picture.interfaces.iter().map(of_interface).collect(),
        Some(changes) => changes
            .devices
            .iter()
            .map(|change| {
                let interface = view.picture.interfaces.iter().find(|interface| interface.name == change.name);
                let mut traffic = interface.map_or_else(|| vanished(&change.name), of_interface);
                for (value, change) in traffic.values.iter_mut().zip(change.counters) {
                    *value = match change {
                        Change::By(amount) => rounded(per_second(amount, changes)),
                        Change::Reset => 0,
                    };
                }
                match change.presence {
                    Presence::Appeared => traffic.state = Cell("NEW".to_owned(), Ink::Warning),
                    _ if interface.is_some() && change.counters.contains(&Change::Reset) => {
                        traffic.state = Cell("RESET".to_owned(), Ink::Warning);
                    }
                    _ => {}
                }
                traffic.idle &= change.presence == Presence::Stayed;
                traffic
            })
            .collect(),
    };
    let count = |device: &Traffic, names: [&str; 2]| names.map(|name| value(&device.values, name));
    // Devices with trouble first, then by traffic.
    devices.sort_by_key(|device| {
        let trouble: u64 = count(device, ["rx_errors", "tx_errors"]).iter().sum();
        let drops: u64 = count(device, ["rx_dropped", "tx_dropped"]).iter().sum();
        let bytes =
            count(device, ["rx_bytes", "tx_bytes"]).iter().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes));
        (u64::MAX - trouble.saturating_add(drops), u64::MAX - bytes)
    });
    let (shown, idle): (Vec<Traffic>, Vec<Traffic>) = devices.into_iter().partition(|device| all || !device.idle);
    let most = if all { shown.len() } else { INTERFACES };
    let per = |name, rate| if view.changes.is_some() { rate } else { name };
    let columns = [
        Column::left("interface", 15),
        Column::left("state", 14),
        Column::right(per("received", "received/s")).optional(3),
        Column::right(per("packets", "packets/s")).optional(2),
        Column::right(per("sent", "sent/s")).optional(3),
        Column::right(per("packets", "packets/s")).optional(2),
        Column::right(per("errors", "errors/s")),
        Column::right(per("drops", "drops/s")),
        Column::rest("addresses").optional(1),
    ];
    let rows: Vec<Vec<Cell>> = shown
        .iter()
        .take(most)
        .map(|device| {
            let bytes = |name| Cell(Bytes(value(&device.values, name)).to_string(), Ink::Plain);
            let packets = |name| Cell(short(value(&device.values, name)), Ink::Plain);
            let pair = |names| {
                let [rx, tx] = count(device, names);
                let ink = if rx + tx > 0 { Ink::Warning } else { Ink::Faint };
                Cell(if rx + tx == 0 { "0".to_owned() } else { format!("{}↓ {}↑", short(rx), short(tx)) }, ink)
            };
            vec![
                device.name.as_str().into(),
                device.state.clone(),
                bytes("rx_bytes"),
                packets("rx_packets"),
                bytes("tx_bytes"),
                packets("tx_packets"),
                pair(["rx_errors", "tx_errors"]),
                pair(["rx_dropped", "tx_dropped"]),
                device.addresses.as_str().into(),
            ]
        })
        .collect();
    page.table(&columns, &rows, true);
    let left = idle.len() + shown.len().saturating_sub(most);
    if left > 0 {
        // A name has at most 15 bytes, but each may take 4 columns when escaped.
        let names = shown.iter().skip(most).chain(&idle).take(4);
        let names: Vec<String> = names.map(|device| device.name.chars().take(8).collect()).collect();
        let dots = if left > names.len() { ", …" } else { "" };
        let why = if shown.len() > most { "more" } else { "down and idle" };
        page.line(&format!("{left} {why}: {}{dots}", names.join(", ")), 2, Ink::Faint);
    }
}

fn value(values: &[u64; 16], name: &str) -> u64 {
    tracer_host::proc::net::dev::COLUMNS
        .iter()
        .zip(values)
        .find_map(|(column, v)| (*column == name).then_some(*v))
        .unwrap_or(0)
}

fn of_interface(interface: &Interface) -> Traffic {
    let state = match &interface.link {
        None => Cell("?".to_owned(), Ink::Faint),
        Some(link) if !link.up => Cell("down".to_owned(), Ink::Faint),
        Some(link) if link.running => Cell("up".to_owned(), Ink::Plain),
        Some(link) => Cell(link.operstate.unwrap_or("no carrier").to_owned(), Ink::Warning),
    };
    let up = interface.link.as_ref().is_none_or(|link| link.up);
    let idle = !up && interface.addresses.is_empty() && interface.counters.iter().all(|count| *count == 0);
    // Link-local addresses are the same everywhere.
    let address = |(address, prefix): &(IpAddr, u8)| match address {
        IpAddr::V6(address) if address.is_unicast_link_local() => None,
        address => Some(format!("{address}/{prefix}")),
    };
    let mut addresses: Vec<String> = interface.addresses.iter().filter_map(address).collect();
    if addresses.len() > 2 {
        let more = addresses.len() - 2;
        addresses.truncate(2);
        addresses.push(format!("+{more}"));
    }
    Traffic { name: interface.name.clone(), state, values: interface.counters, addresses: addresses.join(" "), idle }
}

fn vanished(name: &str) -> Traffic {
    let state = Cell("GONE".to_owned(), Ink::Warning);
    Traffic { name: name.to_owned(), state, values: [0; 16], addresses: String::new(), idle: false }
}

/// Rounds to the nearest whole number.
fn rounded(value: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is not negative")]
    let rounded = value.round() as u64;
    rounded
}

/// Formats a count in at most 7 columns: `12,345`, `1.2M`.
pub(super) fn short(count: u64) -> String {
    if count < 100_000 { Count(count).to_string() } else { Bytes(count).to_string().replace('B', "") }
}

pub(super) fn sockets(page: &mut Page, view: &View<'_>, all: bool) {
    let sockets = &view.picture.sockets;
    if sockets.total() == 0 {
        return;
    }
    let columns = [
        Column::left("TCP sockets of", 32),
        Column::right("all"),
        Column::right("LISTEN"),
        Column::right("ESTAB"),
        Column::right("SYN").optional(3),
        Column::right("CLOSE_WAIT"),
        Column::right("TIME_WAIT").optional(2),
        Column::right("closing").optional(1),
    ];
    let most = if all { sockets.owners.len() } else { OWNERS };
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    if sockets.owners.len() > 1 {
        rows.push(states("everybody".into(), &sockets.states));
    }
    rows.extend(sockets.owners.iter().take(most).map(|owned| states(name(&owned.owner), &owned.states)));
    let rest = sockets.owners.iter().skip(most).collect::<Vec<&Owned>>();
    if !rest.is_empty() {
        let mut sum = [0; STATES];
        for owned in &rest {
            sum.iter_mut().zip(owned.states).for_each(|(sum, count)| *sum += count);
        }
        rows.push(states(Cell(format!("{} others", rest.len()), Ink::Faint), &sum));
    }
    page.table(&columns, &rows, true);
}

/// Formats the owner.
fn name(owner: &Owner) -> Cell {
    match owner {
        Owner::Process { pid, comm } => format!("{comm}[{pid}]").into(),
        Owner::Kernel => Cell("no process".to_owned(), Ink::Faint),
        Owner::Unknown => Cell("owner not seen".to_owned(), Ink::Warning),
    }
}

fn states(name: Cell, states: &[u64; STATES]) -> Vec<Cell> {
    let of = |wanted: &[TcpState]| wanted.iter().map(|state| in_state(states, *state)).sum::<u64>();
    let counts = [
        states.iter().sum(),
        of(&[TcpState::Listen]),
        of(&[TcpState::Established]),
        of(&[TcpState::SynSent, TcpState::SynRecv, TcpState::NewSynRecv]),
        of(&[TcpState::CloseWait]),
        of(&[TcpState::TimeWait]),
        of(&[TcpState::FinWait1, TcpState::FinWait2, TcpState::LastAck, TcpState::Closing]),
    ];
    let number = |count: u64| Cell(short(count), if count == 0 { Ink::Faint } else { Ink::Plain });
    std::iter::once(name).chain(counts.into_iter().map(number)).collect()
}

/// Appends a line for each of the other sections, calm or not.
pub(super) fn calm(page: &mut Page, view: &View<'_>) {
    let picture = view.picture;
    let rows: Vec<Vec<Cell>> = [
        ("counters", counters(view)),
        ("listen queues", queues(picture)),
        ("local ports", ports(picture)),
        ("memory", memory(picture)),
        ("conntrack", conntrack(picture)),
        ("softnet", softnet(view)),
        ("neighbours", neighbours(picture)),
        ("routes", routes(picture)),
    ]
    .into_iter()
    .filter(|(_, text)| !text.is_empty())
    .map(|(name, text)| vec![Cell(name.to_owned(), Ink::Faint), text.into()])
    .collect();
    page.table(&[Column::left("", 16), Column::prose("")], &rows, false);
}

fn counters(view: &View<'_>) -> String {
    let Some(changes) = view.changes else {
        let of = |name| view.picture.counter(name).and_then(|value| u64::try_from(value).ok()).unwrap_or(0);
        if view.picture.counters.is_empty() {
            return String::new();
        }
        let retransmits = health::percent(of("TcpRetransSegs"), of("TcpOutSegs")).unwrap_or(0.0);
        return format!(
            "TCP {} opened, {} accepted; segments {} in, {} out, {} again; UDP {} in, {} out",
            short(of("TcpActiveOpens")),
            short(of("TcpPassiveOpens")),
            short(of("TcpInSegs")),
            short(of("TcpOutSegs")),
            percent(retransmits),
            short(of("UdpInDatagrams") + of("Udp6InDatagrams")),
            short(of("UdpOutDatagrams") + of("Udp6OutDatagrams")),
        );
    };
    let mut moved: Vec<(&str, Change)> = changes.counters.iter().map(|(name, c)| (name.as_str(), *c)).collect();
    moved.sort_by_key(|(_, change)| std::cmp::Reverse(change.amount()));
    let each = |(name, change): &(&str, Change)| match change {
        Change::By(amount) => match per_second(*amount, changes) {
            rate if rate < 9.95 => format!("{name} {rate:.1}/s"),
            rate => format!("{name} {}/s", short(rounded(rate))),
        },
        Change::Reset => format!("{name} began again"),
    };
    match moved.len() {
        0 => "none moved".to_owned(),
        count => format!("{count} moved: {}", moved.iter().take(6).map(each).collect::<Vec<_>>().join(", ")),
    }
}

fn queues(picture: &Picture) -> String {
    let Some(listeners) = &picture.listeners else {
        let waiting: u64 = picture.sockets.waiting.iter().map(|waiting| u64::from(waiting.3)).sum();
        let listeners = number(picture.sockets.waiting.len(), "listener");
        return format!("{listeners}, {} wait for accept(), the limits are unknown", Count(waiting));
    };
    let fullest = listeners.iter().max_by(|a, b| {
        let fill = |listener: &tracer_host::sockets::diag::listen::Listener| {
            f64::from(listener.waiting) / f64::from(listener.limit.max(1))
        };
        fill(a).total_cmp(&fill(b))
    });
    match fullest {
        None => "no listeners".to_owned(),
        Some(listener) if listener.waiting == 0 => {
            format!("{}, nothing waits for accept()", number(listeners.len(), "listener"))
        }
        Some(listener) => format!(
            "{}, the fullest {}: {} of {}",
            number(listeners.len(), "listener"),
            SocketAddr::from((listener.address, listener.port)),
            Count(listener.waiting.into()),
            Count(listener.limit.into())
        ),
    }
}

fn ports(picture: &Picture) -> String {
    let Some((first, last)) = picture.limits.port_range else { return String::new() };
    let ports = picture.limits.ports().unwrap_or(0);
    let range = format!("{first}-{last}: {} to each destination", Count(ports.into()));
    let taken = picture.sockets.port_use;
    match picture.sockets.destinations.first() {
        None => format!("{range}, none in use"),
        Some(_) if taken.is_bound(ports) => {
            let range = format!("{first}-{last}: {}", Count(ports.into()));
            format!("{range}, {} taken by bind(), for every destination", Count(taken.ports.into()))
        }
        Some(most) => format!(
            "{range}, most in use {} to {}",
            Count(most.ports.into()),
            SocketAddr::from((most.raddr, most.rport))
        ),
    }
}

fn memory(picture: &Picture) -> String {
    let stat = |group, key| sockstat::find(&picture.sockstat, group, key);
    let of = |value: Option<u64>, limit: Option<u64>, what: &str| {
        let limit = limit.map(|limit| format!(" of {}", short(limit))).unwrap_or_default();
        value.map(|value| format!("{what} {}{limit}", short(value)))
    };
    let limits = &picture.limits;
    let parts = [
        of(stat("TCP", "mem"), limits.tcp_mem.map(|mem| mem[2]), "pages: TCP"),
        of(stat("UDP", "mem"), limits.udp_mem.map(|mem| mem[2]), "UDP"),
        of(stat("TCP", "orphan"), limits.tcp_max_orphans, "orphans"),
        of(stat("TCP", "tw"), limits.tcp_max_tw_buckets, "TIME_WAIT"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn conntrack(picture: &Picture) -> String {
    let Some(conntrack) = &picture.conntrack else {
        return "none in this kernel".to_owned();
    };
    match (conntrack.count, conntrack.max) {
        (Some(count), Some(max)) if max > 0 => format!("{} of {} connections", Count(count), Count(max)),
        (Some(count), _) => format!("{} connections", Count(count)),
        (None, _) => {
            let listed: u64 = conntrack.states.iter().flatten().map(|(_, count)| count).sum();
            format!("{} connections, the limit is not visible here", Count(listed))
        }
    }
}

fn softnet(view: &View<'_>) -> String {
    let [processed, dropped, squeezed] = softnet_totals(view.picture, view.changes);
    if view.picture.softnet.is_empty() {
        return String::new();
    }
    let (cpus, of) = (view.picture.softnet.len(), view.changes);
    let processed = of.map_or_else(
        || format!("{} packets", short(processed)),
        |changes| format!("{} packets/s", short(rounded(per_second(processed, changes)))),
    );
    format!("{processed} on {cpus} CPUs of the host, {} dropped, {} time squeezes", Count(dropped), Count(squeezed))
}

fn neighbours(picture: &Picture) -> String {
    let Some(neighbours) = &picture.neighbours else {
        let unknown =
            picture.arp.iter().filter(|neighbour| neighbour.flags & tracer_host::proc::net::arp::ATF_COM == 0);
        return format!("{} IPv4, {} without an answer", picture.arp.len(), unknown.count());
    };
    let failed = neighbours.iter().filter(|neighbour| neighbour.is_unanswered()).count();
    match (neighbours.len(), failed) {
        (0, _) => "none".to_owned(),
        (count, 0) => format!("{count}, none failed"),
        (count, failed) => format!("{count}, {failed} without an answer"),
    }
}

fn routes(picture: &Picture) -> String {
    let v4 = picture.routes.iter().find(|route| route.prefix == 0).map(|route| {
        let device = route.device.as_deref().unwrap_or("nowhere");
        route.gateway.map_or_else(|| device.to_owned(), |gateway| format!("{gateway} on {device}"))
    });
    let v6 = picture.ipv6_routes.iter().find(|route| route.prefix == 0).map(|route| {
        route.gateway.map_or_else(|| route.device.clone(), |gateway| format!("{gateway} on {}", route.device))
    });
    let default = |via: Option<String>| via.map_or_else(|| "no default".to_owned(), |via| format!("default {via}"));
    format!("{} IPv4, {}; {} IPv6, {}", picture.routes.len(), default(v4), picture.ipv6_routes.len(), default(v6))
}

/// Formats a number of things: `1 process`, `2 sockets`.
fn number(count: usize, what: &str) -> String {
    let ending = match (count, what.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{} {what}{ending}", Count(u64::try_from(count).unwrap_or(u64::MAX)))
}

/// Returns why owners of sockets are missing; `None` if none is.
pub(super) fn owners_missing(picture: &Picture) -> Option<String> {
    let unknown = picture.sockets.owners.iter().find(|owned| owned.owner == Owner::Unknown)?.total();
    let denied = picture.sockets.denied;
    let sockets = number(usize::try_from(unknown).unwrap_or(usize::MAX), "socket");
    Some(if denied > 0 {
        let processes = number(usize::try_from(denied).unwrap_or(usize::MAX), "process");
        format!("the owner of {sockets}: this user may not look into {processes}; root may")
    } else {
        format!("the owner of {sockets}: no process that is visible here holds them")
    })
}
