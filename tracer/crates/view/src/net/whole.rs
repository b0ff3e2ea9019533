//! `--all`: every row of every table.

use std::net::SocketAddr;

use super::page::{Cell, Column, Page};
use super::{View, per_second};
use crate::ink::Ink;
use crate::unit::Count;
use tracer_host::net::change::Change;
use tracer_host::proc::net::dev::COLUMNS;
use tracer_host::proc::net::{arp, ipv6_route, route};

pub(super) fn write(page: &mut Page, view: &View<'_>) {
    devices(page, view);
    routes(page, view);
    neighbours(page, view);
    listeners(page, view);
    destinations(page, view);
    conntrack(page, view);
    softnet(page, view);
    groups(page, view);
    counters(page, view);
    if !view.picture.absent.is_empty() {
        page.blank();
        page.line(&format!("not in this kernel: {}", view.picture.absent.join(", ")), 2, Ink::Faint);
    }
}

fn table(page: &mut Page, columns: &[Column], rows: &[Vec<Cell>]) {
    if !rows.is_empty() {
        page.blank();
        page.table(columns, rows, true);
    }
}

fn number(count: u64) -> Cell {
    Count(count).to_string().into()
}

fn devices(page: &mut Page, view: &View<'_>) {
    for interface in &view.picture.interfaces {
        let moved: Vec<Vec<Cell>> = COLUMNS
            .iter()
            .zip(interface.counters)
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| vec![(*name).into(), number(count)])
            .collect();
        let mut line = format!("interface {}", interface.name);
        if let Some(link) = &interface.link {
            line.push_str(&format!(" index {}", link.ifindex));
            if let Some(mtu) = link.mtu {
                line.push_str(&format!(" mtu {mtu}"));
            }
        }
        for (address, prefix) in &interface.addresses {
            line.push_str(&format!(" {address}/{prefix}"));
        }
        page.blank();
        page.line(&line, 2, Ink::Faint);
        page.table(&[Column::left("", 20), Column::right("")], &moved, false);
    }
    let wireless: Vec<Vec<Cell>> = view
        .picture
        .wireless
        .iter()
        .map(|w| {
            let quality = format!("{} {} dBm {} dBm", w.link, w.level, w.noise);
            vec![w.name.as_str().into(), quality.into(), number(w.discarded.iter().sum())]
        })
        .collect();
    table(
        page,
        &[Column::left("wireless", 15), Column::left("link level noise", 24), Column::right("discarded")],
        &wireless,
    );
}

fn routes(page: &mut Page, view: &View<'_>) {
    let v4 = view.picture.routes.iter().map(|route| {
        let via = match (&route.gateway, &route.device) {
            (_, None) if route.flags & route::RTF_REJECT != 0 => "unreachable".to_owned(),
            (_, None) => "nowhere".to_owned(),
            (Some(gateway), _) => gateway.to_string(),
            (None, _) => String::new(),
        };
        let to = format!("{}/{}", route.destination, route.prefix);
        vec![to.into(), via.into(), route.device.as_deref().unwrap_or_default().into(), route.metric.to_string().into()]
    });
    let v6 = view.picture.ipv6_routes.iter().map(|route| {
        let via = match route.gateway {
            _ if route.flags & ipv6_route::RTF_REJECT != 0 => "unreachable".to_owned(),
            Some(gateway) => gateway.to_string(),
            None => String::new(),
        };
        let to = format!("{}/{}", route.destination, route.prefix);
        vec![to.into(), via.into(), route.device.as_str().into(), route.metric.to_string().into()]
    });
    let columns =
        [Column::left("route", 43), Column::left("via", 39), Column::left("device", 15), Column::right("metric")];
    table(page, &columns, &v4.chain(v6).collect::<Vec<_>>());
}

fn neighbours(page: &mut Page, view: &View<'_>) {
    let columns = [
        Column::left("neighbour", 39),
        Column::left("device", 15),
        Column::left("state", 12),
        Column::left("address", 40),
    ];
    let rows: Vec<Vec<Cell>> = match &view.picture.neighbours {
        Some(neighbours) => neighbours
            .iter()
            .map(|neighbour| {
                let device = view.picture.device(neighbour.ifindex).unwrap_or("?");
                let ink = if neighbour.is_unanswered() { Ink::Warning } else { Ink::Plain };
                let state = Cell(neighbour.state_name().to_owned(), ink);
                let lladdr = super::json::lladdr(&neighbour.lladdr);
                vec![neighbour.address.to_string().into(), device.into(), state, lladdr.into()]
            })
            .collect(),
        None => view
            .picture
            .arp
            .iter()
            .map(|neighbour| {
                let state = if neighbour.flags & arp::ATF_COM == 0 { "no answer" } else { "" };
                let cells = [neighbour.address.to_string(), neighbour.device.clone(), state.to_owned()];
                cells.into_iter().chain([neighbour.lladdr.clone()]).map(Cell::from).collect()
            })
            .collect(),
    };
    table(page, &columns, &rows);
}

fn listeners(page: &mut Page, view: &View<'_>) {
    let rows: Vec<Vec<Cell>> = view
        .picture
        .listeners
        .iter()
        .flatten()
        .map(|listener| {
            let address = SocketAddr::from((listener.address, listener.port)).to_string();
            vec![address.into(), number(listener.waiting.into()), number(listener.limit.into())]
        })
        .collect();
    table(page, &[Column::left("listener", 47), Column::right("waiting"), Column::right("limit")], &rows);
}

fn destinations(page: &mut Page, view: &View<'_>) {
    let rows: Vec<Vec<Cell>> = view
        .picture
        .sockets
        .destinations
        .iter()
        .map(|to| {
            let raddr = SocketAddr::from((to.raddr, to.rport)).to_string();
            vec![to.laddr.to_string().into(), raddr.into(), number(to.ports.into())]
        })
        .collect();
    let columns = [Column::left("local ports of", 39), Column::left("destination", 47), Column::right("ports")];
    table(page, &columns, &rows);
}

fn conntrack(page: &mut Page, view: &View<'_>) {
    let states = view.picture.conntrack.as_ref().and_then(|conntrack| conntrack.states.as_ref());
    let rows: Vec<Vec<Cell>> = states
        .into_iter()
        .flatten()
        .map(|((protocol, state), count)| vec![protocol.as_str().into(), state.as_str().into(), number(*count)])
        .collect();
    table(page, &[Column::left("conntrack", 12), Column::left("state", 16), Column::right("connections")], &rows);
    for (name, stat) in &view.picture.percpu {
        let rows: Vec<Vec<Cell>> = stat
            .names
            .iter()
            .filter(|column| *column != "entries")
            .filter_map(|column| Some((column, stat.sum(column).filter(|sum| *sum > 0)?)))
            .map(|(column, sum)| vec![column.as_str().into(), number(sum)])
            .collect();
        table(page, &[Column::left(name, 20), Column::right("all CPUs")], &rows);
    }
}

fn softnet(page: &mut Page, view: &View<'_>) {
    let rows: Vec<Vec<Cell>> = view
        .picture
        .softnet
        .iter()
        .zip(0u32..)
        .map(|(cpu, place)| {
            let name = cpu.cpu.unwrap_or(place).to_string();
            let counts = [cpu.processed(), cpu.dropped(), cpu.time_squeeze(), cpu.flow_limit()];
            std::iter::once(name.into()).chain(counts.map(|count| number(count.into()))).collect()
        })
        .collect();
    let columns = [
        Column::right("CPU"),
        Column::right("packets"),
        Column::right("dropped"),
        Column::right("time_squeeze"),
        Column::right("flow_limit").optional(1),
    ];
    table(page, &columns, &rows);
}

fn groups(page: &mut Page, view: &View<'_>) {
    let v4 = view.picture.igmp.iter().map(|group| (&group.device, group.group.to_string(), group.users));
    let v6 = view.picture.igmp6.iter().map(|group| (&group.device, group.group.to_string(), group.users));
    let rows: Vec<Vec<Cell>> = v4
        .chain(v6)
        .map(|(device, group, users)| vec![device.as_str().into(), group.into(), number(users.into())])
        .collect();
    table(page, &[Column::left("multicast", 15), Column::left("group", 39), Column::right("users")], &rows);
    let rows: Vec<Vec<Cell>> = view
        .picture
        .receivers
        .iter()
        .map(|receiver| {
            let protocol = receiver.protocol.map_or("all".to_owned(), |protocol| format!("0x{protocol:04x}"));
            vec![protocol.into(), receiver.device.as_deref().unwrap_or("all").into(), receiver.function.as_str().into()]
        })
        .collect();
    table(page, &[Column::left("packets", 8), Column::left("device", 15), Column::rest("go to")], &rows);
}

fn counters(page: &mut Page, view: &View<'_>) {
    let meaning =
        |name: &str| Cell(tracer_explain::counter(name).map_or("", |entry| entry.meaning).to_owned(), Ink::Faint);
    let rows: Vec<Vec<Cell>> = match view.changes {
        None => view
            .picture
            .counters
            .iter()
            .filter(|counter| counter.value != 0)
            .map(|counter| {
                let value = u64::try_from(counter.value).map_or(counter.value.to_string(), |v| Count(v).to_string());
                vec![counter.name.as_str().into(), value.into(), meaning(&counter.name)]
            })
            .collect(),
        Some(changes) => changes
            .counters
            .iter()
            .map(|(name, change)| {
                let rate = match change {
                    Change::By(amount) => format!("{:.1}/s", per_second(*amount, changes)),
                    Change::Reset => "began again".to_owned(),
                };
                vec![name.as_str().into(), rate.into(), meaning(name)]
            })
            .collect(),
    };
    table(page, &[Column::left("counter", 34), Column::right(""), Column::prose("")], &rows);
}
