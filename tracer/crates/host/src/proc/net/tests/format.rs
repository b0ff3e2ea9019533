//! Formats tables like the kernel, after the `seq_show` functions that the parsers name.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::{
    arp, dev, fib_trie, if_inet6, igmp, igmp6, ipv6_route, percpu, ptype, route, snmp, sockstat, softnet_stat, wireless,
};

/// Formats row after row.
fn rows<T>(rows: &[T], mut row: impl FnMut(&mut String, &T)) -> String {
    let mut text = String::new();
    for one in rows {
        row(&mut text, one);
        text.push('\n');
    }
    text
}

pub(super) fn dev(devices: &[dev::Device]) -> String {
    "Inter-|   Receive                                                |  Transmit\n \
     face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier \
     compressed\n"
        .to_owned()
        + &rows(devices, |text, device| {
            let c = device.counters;
            write!(
                text,
                "{:>6}: {:7} {:7} {:4} {:4} {:4} {:5} {:10} {:9} {:8} {:7} {:4} {:4} {:4} {:5} {:7} {:10}",
                device.name,
                c[0],
                c[1],
                c[2],
                c[3],
                c[4],
                c[5],
                c[6],
                c[7],
                c[8],
                c[9],
                c[10],
                c[11],
                c[12],
                c[13],
                c[14],
                c[15]
            )
            .unwrap();
        })
}

pub(super) fn wireless(devices: &[wireless::Wireless]) -> String {
    "Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE\n \
     face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22\n"
        .to_owned()
        + &rows(devices, |text, w| {
            let d = w.discarded;
            write!(
                text,
                "{:>6}: {:04x}  {:3}.  {:3}.  {:3}   {:6} {:6} {:6} {:6} {:6}   {:6}",
                w.name, w.status, w.link, w.level, w.noise, d[0], d[1], d[2], d[3], d[4], d[5]
            )
            .unwrap();
        })
}

fn pi6(address: Ipv6Addr) -> String {
    format!("{:032x}", u128::from(address))
}

fn word(address: Ipv4Addr) -> String {
    format!("{:08X}", u32::from_ne_bytes(address.octets()))
}

pub(super) fn if_inet6(addresses: &[if_inet6::Address]) -> String {
    rows(addresses, |text, a| {
        let address = pi6(a.address);
        write!(text, "{address} {:02x} {:02x} {:02x} {:02x} {:>8}", a.ifindex, a.prefix, a.scope, a.flags, a.device)
            .unwrap();
    })
}

pub(super) fn igmp(groups: &[igmp::Group]) -> String {
    let mut text = String::from("Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n");
    for device in groups.chunk_by(|a, b| a.ifindex == b.ifindex && a.device == b.device) {
        writeln!(text, "{}\t{:<10}: {:5} {:>7}", device[0].ifindex, device[0].device, device.len(), "V3").unwrap();
        for group in device {
            writeln!(text, "\t\t\t\t{} {:5} 0:00000000\t\t0", word(group.group), group.users).unwrap();
        }
    }
    text
}

pub(super) fn igmp6(groups: &[igmp6::Group]) -> String {
    rows(groups, |text, g| {
        write!(text, "{:<4} {:<15} {} {:5} {:08X} {}", g.ifindex, g.device, pi6(g.group), g.users, 4, 0).unwrap();
    })
}

pub(super) fn ptype(receivers: &[ptype::Receiver]) -> String {
    "Type Device      Function\n".to_owned()
        + &rows(receivers, |text, r| {
            let protocol = r.protocol.map_or("ALL ".to_owned(), |protocol| format!("{protocol:04x}"));
            write!(text, "{protocol} {:<8} {}", r.device.as_deref().unwrap_or_default(), r.function).unwrap();
        })
}

pub(super) fn route(routes: &[route::Route]) -> String {
    format!("{:<127}\n", "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT")
        + &rows(routes, |text, r| {
            let row = format!(
                "{}\t{}\t{}\t{:04X}\t0\t0\t{}\t{}\t{}\t0\t0",
                r.device.as_deref().unwrap_or("*"),
                word(r.destination),
                word(r.gateway.unwrap_or(Ipv4Addr::UNSPECIFIED)),
                r.flags,
                r.metric.cast_signed(),
                word(u32::MAX.checked_shl(32 - u32::from(r.prefix)).unwrap_or(0).into()),
                r.mtu,
            );
            write!(text, "{row:<127}").unwrap();
        })
}

pub(super) fn fib_trie(routes: &[fib_trie::Route]) -> String {
    let mut text = String::new();
    for table in routes.chunk_by(|a, b| a.table == b.table) {
        match table[0].table {
            fib_trie::MAIN => text.push_str("Main:\n"),
            fib_trie::LOCAL => text.push_str("Local:\n"),
            number => writeln!(text, "Id {number}:").unwrap(),
        }
        text.push_str("  +-- 0.0.0.0/0 3 0 5\n");
        for leaf in table.chunk_by(|a, b| a.destination == b.destination) {
            writeln!(text, "     |-- {}", leaf[0].destination).unwrap();
            for (n, route) in leaf.iter().enumerate() {
                let tos = if n % 2 == 0 { "" } else { " tos=16" };
                writeln!(text, "        /{} {} {}{tos}", route.prefix, route.scope, route.kind).unwrap();
            }
        }
    }
    text
}

pub(super) fn ipv6_route(routes: &[ipv6_route::Route]) -> String {
    rows(routes, |text, r| {
        let gateway = pi6(r.gateway.unwrap_or(Ipv6Addr::UNSPECIFIED));
        let (to, from) = (pi6(r.destination), pi6(r.source));
        write!(
            text,
            "{to} {:02x} {from} {:02x} {gateway} {:08x} {:08x} {:08x} {:08x} {:>8}",
            r.prefix, r.source_prefix, r.metric, 1, 0, r.flags, r.device
        )
        .unwrap();
    })
}

pub(super) fn arp(neighbours: &[arp::Neighbour]) -> String {
    "IP address       HW type     Flags       HW address            Mask     Device\n".to_owned()
        + &rows(neighbours, |text, n| {
            let address = n.address.to_string();
            let (hardware, flags) = (format!("{:x}", n.hardware), format!("{:x}", n.flags));
            write!(text, "{address:<16} 0x{hardware:<10}0x{flags:<10}{:<17}     *        {}", n.lladdr, n.device)
                .unwrap();
        })
}

/// Formats counters. `group_of`: the length of the group in a counter's name.
pub(super) fn snmp(counters: &[snmp::Counter], group_of: impl Fn(&str) -> usize) -> String {
    let mut text = String::new();
    for group in counters.chunk_by(|a, b| a.name[..group_of(&a.name)] == b.name[..group_of(&b.name)]) {
        let name = &group[0].name[..group_of(&group[0].name)];
        let names: String = group.iter().map(|counter| format!(" {}", &counter.name[name.len()..])).collect();
        let values: String = group.iter().map(|counter| format!(" {}", counter.value)).collect();
        writeln!(text, "{name}:{names}\n{name}:{values}").unwrap();
    }
    text
}

pub(super) fn snmp6(counters: &[snmp::Counter]) -> String {
    rows(counters, |text, counter| write!(text, "{:<32}\t{}", counter.name, counter.value).unwrap())
}

pub(super) fn sockstat(entries: &[sockstat::Entry]) -> String {
    let mut text = String::new();
    for group in entries.chunk_by(|a, b| a.group == b.group) {
        text.push_str(&group[0].group);
        text.push(':');
        for entry in group {
            write!(text, " {} {}", entry.key, entry.value).unwrap();
        }
        text.push('\n');
    }
    text
}

pub(super) fn softnet_stat(cpus: &[softnet_stat::Cpu]) -> String {
    rows(cpus, |text, cpu| {
        let columns: Vec<String> = cpu.columns.iter().map(|column| format!("{column:08x}")).collect();
        text.push_str(&columns.join(" "));
    })
}

pub(super) fn percpu(table: &percpu::Table) -> String {
    format!("{}\n", table.names.join(" "))
        + &rows(&table.cpus, |text, cpu| {
            let columns: Vec<String> = cpu.iter().map(|column| format!("{column:08x}")).collect();
            text.push_str(&columns.join(" "));
        })
}
