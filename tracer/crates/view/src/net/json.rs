//! A namespace as an object with a member for each section.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{View, per_second};
use crate::clock::Rfc3339;
use tracer_host::net::Picture;
use tracer_host::net::change::{Change, Changes, Presence};
use tracer_host::net::sockets::{Owner, STATES};
use tracer_host::proc::net::dev::COLUMNS;
use tracer_stream::{Line, TcpState, VERSION};

/// A network namespace: an object with a member for each section.
#[derive(Serialize, JsonSchema)]
pub struct NetLine<'a> {
    /// Inode number of the namespace.
    netns: u32,
    /// Its name.
    netns_name: Option<&'a str>,
    /// tracer runs in it.
    netns_current: bool,
    /// What is sick.
    #[schemars(with = "Vec<Map<String, Value>>")]
    findings: Value,
    /// How the counters moved since the last look, with `--watch`; `null` for a counter that began again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Map<String, Value>")]
    changes: Option<Value>,
    /// Devices: state, addresses and counters.
    #[schemars(with = "Vec<Map<String, Value>>")]
    interfaces: Value,
    /// Wireless devices: quality and what they discarded.
    #[schemars(with = "Vec<Map<String, Value>>")]
    wireless: Value,
    /// How many sockets there are, by state and owner.
    #[schemars(with = "Map<String, Value>")]
    sockets: Value,
    /// Listeners and what waits for accept().
    #[schemars(with = "Vec<Map<String, Value>>")]
    listen_queues: Value,
    /// Local ports: the range, and how many are in use.
    #[schemars(with = "Map<String, Value>")]
    ports: Value,
    /// The kernel's counters, named as nstat names them.
    #[schemars(with = "Map<String, Value>")]
    counters: Value,
    /// /proc/net/sockstat and sockstat6.
    #[schemars(with = "Map<String, Value>")]
    sockstat: Value,
    /// Limits of memory and tables.
    #[schemars(with = "Map<String, Value>")]
    memory: Value,
    /// The table of conntrack; `null` without one.
    #[schemars(with = "Option<Map<String, Value>>")]
    conntrack: Value,
    /// What each CPU received, dropped and put off.
    #[schemars(with = "Vec<Map<String, Value>>")]
    softnet: Value,
    /// The neighbour table.
    #[schemars(with = "Vec<Map<String, Value>>")]
    neighbours: Value,
    /// Routes of the main table.
    #[schemars(with = "Vec<Map<String, Value>>")]
    routes: Value,
    /// Multicast groups joined.
    #[schemars(with = "Vec<Map<String, Value>>")]
    multicast: Value,
    /// Receivers of packet types.
    #[schemars(with = "Vec<Map<String, Value>>")]
    receivers: Value,
    /// The counters of /proc/net/stat, all CPUs together.
    #[schemars(with = "Map<String, Value>")]
    tables: Value,
    /// What could not be read.
    #[schemars(with = "Map<String, Value>")]
    missing: Value,
}

/// Appends the object and a newline to `out`. `wall_ns`: the time of the picture.
pub fn write(out: &mut Vec<u8>, view: &View<'_>, wall_ns: i64) {
    let picture = view.picture;
    let body = NetLine {
        netns: picture.netns.inode,
        netns_name: picture.netns.name.as_deref(),
        netns_current: picture.current,
        findings: findings(view),
        changes: view.changes.map(moved),
        interfaces: interfaces(picture),
        wireless: wireless(picture),
        sockets: sockets(picture),
        listen_queues: listen_queues(picture),
        ports: ports(picture),
        counters: counters(picture),
        sockstat: sockstat(picture),
        memory: memory(picture),
        conntrack: conntrack(picture),
        softnet: softnet(picture),
        neighbours: neighbours(picture),
        routes: routes(picture),
        multicast: multicast(picture),
        receivers: receivers(picture),
        tables: tables(picture),
        missing: missing(picture),
    };
    let time = Rfc3339::default().text(wall_ns);
    crate::json::line(out, &Line { v: VERSION, event: "net", time: &time, boot_ns: picture.boot_ns, body });
}

fn findings(view: &View<'_>) -> Value {
    let finding = |finding: &tracer_host::net::health::Finding| {
        json!({
            "severity": finding.severity.name(),
            "section": finding.section,
            "what": finding.what,
            "amount": finding.amount,
            "percent": finding.percent,
            "meaning": finding.meaning,
            "explain": finding.explain,
            "when": finding.when.map(tracer_host::net::health::When::name),
        })
    };
    view.findings.iter().map(finding).collect()
}

fn interfaces(picture: &Picture) -> Value {
    picture
        .interfaces
        .iter()
        .map(|interface| {
            let mut object = Map::new();
            object.insert("name".into(), interface.name.as_str().into());
            if let Some(link) = &interface.link {
                object.insert("ifindex".into(), link.ifindex.into());
                object.insert("up".into(), link.up.into());
                object.insert("running".into(), link.running.into());
                object.insert("mtu".into(), link.mtu.into());
                object.insert("operstate".into(), link.operstate.into());
            }
            let address = |(address, prefix): &(std::net::IpAddr, u8)| format!("{address}/{prefix}").into();
            object.insert("addresses".into(), interface.addresses.iter().map(address).collect::<Vec<Value>>().into());
            object
                .extend(COLUMNS.iter().zip(interface.counters).map(|(name, count)| ((*name).to_owned(), count.into())));
            Value::Object(object)
        })
        .collect()
}

fn wireless(picture: &Picture) -> Value {
    let one = |w: &tracer_host::proc::net::wireless::Wireless| json!({ "name": w.name, "status": w.status, "link": w.link, "level": w.level, "noise": w.noise, "discarded": w.discarded });
    picture.wireless.iter().map(one).collect()
}

/// Returns the states that have sockets, by name.
fn states(states: &[u64; STATES]) -> Value {
    let named = (0u8..).zip(states).filter(|(_, count)| **count > 0).map(|(number, count)| {
        let name = TcpState::from_number(number).map_or_else(|| number.to_string(), |state| state.name().to_owned());
        (name, Value::from(*count))
    });
    Value::Object(named.collect())
}

fn sockets(picture: &Picture) -> Value {
    let owner = |owned: &tracer_host::net::sockets::Owned| {
        let (kind, pid, comm) = match &owned.owner {
            Owner::Process { pid, comm } => ("process", Some(*pid), Some(comm.as_str())),
            Owner::Kernel => ("none", None, None),
            Owner::Unknown => ("unknown", None, None),
        };
        json!({ "owner": kind, "pid": pid, "comm": comm, "total": owned.total(), "states": states(&owned.states) })
    };
    let sockets = &picture.sockets;
    json!({
        "total": sockets.total(),
        "states": states(&sockets.states),
        "owners": sockets.owners.iter().map(owner).collect::<Vec<Value>>(),
    })
}

fn listen_queues(picture: &Picture) -> Value {
    let object = |laddr: std::net::IpAddr, lport: u16, inode: u64, backlog: u32, limit: Option<u32>| {
        let (pid, comm) = match picture.sockets.listeners.get(&inode) {
            Some(Owner::Process { pid, comm }) => (Some(*pid), Some(comm.as_str())),
            _ => (None, None),
        };
        json!({
            "laddr": laddr, "lport": lport, "backlog": backlog, "backlog_limit": limit,
            "inode": inode, "pid": pid, "comm": comm,
        })
    };
    match &picture.listeners {
        Some(listeners) => {
            listeners.iter().map(|l| object(l.address, l.port, l.inode, l.waiting, Some(l.limit))).collect()
        }
        None => picture
            .sockets
            .waiting
            .iter()
            .map(|(inode, address, port, waiting)| object(*address, *port, *inode, *waiting, None))
            .collect(),
    }
}

fn ports(picture: &Picture) -> Value {
    let to = |to: &tracer_host::net::sockets::Destination| json!({ "laddr": to.laddr, "raddr": to.raddr, "rport": to.rport, "ports": to.ports });
    json!({
        "range": picture.limits.port_range.map(|(first, last)| [first, last]),
        "available": picture.limits.ports(),
        "in_use": picture.sockets.port_use.ports,
        "bound": picture.limits.ports().map(|ports| picture.sockets.port_use.is_bound(ports)),
        "destinations": picture.sockets.destinations.iter().map(to).collect::<Vec<Value>>(),
    })
}

/// Converts a number of any size.
fn number(value: i128) -> Value {
    u64::try_from(value).map_or_else(|_| i64::try_from(value).map_or(Value::Null, Value::from), Value::from)
}

fn counters(picture: &Picture) -> Value {
    Value::Object(picture.counters.iter().map(|counter| (counter.name.clone(), number(counter.value))).collect())
}

fn sockstat(picture: &Picture) -> Value {
    let mut groups: Map<String, Value> = Map::new();
    for entry in &picture.sockstat {
        let group = groups.entry(entry.group.clone()).or_insert_with(|| json!({}));
        if let Value::Object(group) = group {
            group.insert(entry.key.clone(), entry.value.into());
        }
    }
    Value::Object(groups)
}

fn memory(picture: &Picture) -> Value {
    let limits = &picture.limits;
    json!({
        "tcp_mem": limits.tcp_mem,
        "udp_mem": limits.udp_mem,
        "tcp_max_orphans": limits.tcp_max_orphans,
        "tcp_max_tw_buckets": limits.tcp_max_tw_buckets,
    })
}

fn conntrack(picture: &Picture) -> Value {
    let Some(conntrack) = &picture.conntrack else {
        return Value::Null;
    };
    let states = conntrack.states.as_ref().map(|states| {
        let row = |((protocol, state), count): (&(String, String), &u64)| {
            let state = Some(state).filter(|state| !state.is_empty());
            json!({ "protocol": protocol, "state": state, "count": count })
        };
        states.iter().map(row).collect::<Vec<Value>>()
    });
    json!({ "count": conntrack.count, "max": conntrack.max, "states": states })
}

fn softnet(picture: &Picture) -> Value {
    let cpu = |cpu: &tracer_host::proc::net::softnet_stat::Cpu| {
        json!({
            "cpu": cpu.cpu,
            "processed": cpu.processed(),
            "dropped": cpu.dropped(),
            "time_squeeze": cpu.time_squeeze(),
            "flow_limit": cpu.flow_limit(),
        })
    };
    picture.softnet.iter().map(cpu).collect()
}

/// Formats a hardware address: `02:00:00:00:00:01`.
pub(super) fn lladdr(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn neighbours(picture: &Picture) -> Value {
    match &picture.neighbours {
        Some(neighbours) => neighbours
            .iter()
            .map(|neighbour| {
                json!({
                    "address": neighbour.address,
                    "device": picture.device(neighbour.ifindex),
                    "lladdr": Some(lladdr(&neighbour.lladdr)).filter(|text| !text.is_empty()),
                    "state": neighbour.state_name(),
                })
            })
            .collect(),
        // The file has IPv4 only and no states.
        None => picture
            .arp
            .iter()
            .map(|n| json!({ "address": n.address, "device": n.device, "lladdr": n.lladdr, "state": null }))
            .collect(),
    }
}

fn routes(picture: &Picture) -> Value {
    let v4 = picture.routes.iter().map(|route| {
        json!({
            "family": 4,
            "destination": format!("{}/{}", route.destination, route.prefix),
            "gateway": route.gateway,
            "device": route.device,
            "metric": route.metric,
            "flags": route.flags,
        })
    });
    let v6 = picture.ipv6_routes.iter().map(|route| {
        json!({
            "family": 6,
            "destination": format!("{}/{}", route.destination, route.prefix),
            "gateway": route.gateway,
            "device": route.device,
            "metric": route.metric,
            "flags": route.flags,
        })
    });
    v4.chain(v6).collect()
}

fn multicast(picture: &Picture) -> Value {
    let v4 = picture.igmp.iter().map(|g| json!({ "device": g.device, "group": g.group, "users": g.users }));
    let v6 = picture.igmp6.iter().map(|g| json!({ "device": g.device, "group": g.group, "users": g.users }));
    v4.chain(v6).collect()
}

fn receivers(picture: &Picture) -> Value {
    let one = |r: &tracer_host::proc::net::ptype::Receiver| json!({ "protocol": r.protocol, "device": r.device, "function": r.function });
    picture.receivers.iter().map(one).collect()
}

/// Returns the tables in `stat/`, all CPUs together.
fn tables(picture: &Picture) -> Value {
    let table = |(name, table): (&&'static str, &tracer_host::proc::net::percpu::Table)| {
        let sums = table.names.iter().filter(|column| *column != "entries");
        let sums = sums.filter_map(|column| Some((column.clone(), Value::from(table.sum(column)?))));
        ((*name).to_owned(), Value::Object(sums.collect()))
    };
    Value::Object(picture.percpu.iter().map(table).collect())
}

fn missing(picture: &Picture) -> Value {
    let place = |(path, line): &(std::path::PathBuf, u64)| json!({ "file": path.to_string_lossy(), "line": line });
    json!({
        "gaps": picture.gaps,
        "absent": picture.absent,
        "processes_denied": picture.sockets.denied,
        "malformed": picture.malformed.count,
        "malformed_places": picture.malformed.places.iter().map(place).collect::<Vec<Value>>(),
    })
}

/// Returns how the counters moved: `null` for a counter that began again.
fn moved(changes: &Changes) -> Value {
    let rate = |change: Change| match change {
        Change::By(amount) => json!({ "delta": amount, "per_second": per_second(amount, changes) }),
        Change::Reset => Value::Null,
    };
    let devices: Vec<Value> = changes
        .devices
        .iter()
        .map(|device| {
            let presence = match device.presence {
                Presence::Stayed => "stayed",
                Presence::Appeared => "appeared",
                Presence::Vanished => "vanished",
            };
            let mut object = Map::new();
            object.insert("name".into(), device.name.as_str().into());
            object.insert("presence".into(), presence.into());
            object.extend(COLUMNS.iter().zip(device.counters).map(|(name, change)| ((*name).to_owned(), rate(change))));
            Value::Object(object)
        })
        .collect();
    let counters: Map<String, Value> =
        changes.counters.iter().map(|(name, change)| (name.clone(), rate(*change))).collect();
    let [processed, dropped, squeezed] = changes.softnet.map(|count| rate(Change::By(count)));
    let mut tables: Map<String, Value> = Map::new();
    for (table, column, sum) in &changes.percpu {
        if let Value::Object(table) = tables.entry(*table).or_insert_with(|| json!({})) {
            table.insert(column.clone(), rate(Change::By(*sum)));
        }
    }
    json!({
        "seconds": changes.seconds,
        "interfaces": devices,
        "counters": counters,
        "softnet": { "processed": processed, "dropped": dropped, "time_squeeze": squeezed },
        "tables": tables,
    })
}
