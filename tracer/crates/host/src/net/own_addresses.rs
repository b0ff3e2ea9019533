//! The IPv4 addresses of a namespace from its files, where netlink does not report them.
//!
//! fib_trie has the addresses without devices. The route to an address's network, which the kernel makes
//! with the address, names the device, unless two devices are on that network.

use std::net::Ipv4Addr;

use crate::proc::net::{fib_trie, route};

/// An address with the device that must have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) address: Ipv4Addr,
    /// Its device and the length of its prefix; `None` if the files leave that open.
    pub(super) place: Option<(String, u8)>,
}

/// Returns the addresses in `tries`, each once, in order.
pub(super) fn of(tries: &[fib_trie::Route], routes: &[route::Route]) -> Vec<Own> {
    let mut addresses: Vec<Ipv4Addr> =
        tries.iter().filter(|route| route.is_own_address()).map(|route| route.destination).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.into_iter().map(|address| Own { address, place: place(address, routes) }).collect()
}

fn place(address: Ipv4Addr, routes: &[route::Route]) -> Option<(String, u8)> {
    if address.is_loopback() {
        // The main table has no route to it.
        return Some(("lo".to_owned(), 8));
    }
    let leads_there = |route: &&route::Route| {
        let mask = u32::MAX.checked_shl(32 - u32::from(route.prefix)).unwrap_or(0);
        route.prefix > 0 && route.gateway.is_none() && u32::from(address) & mask == u32::from(route.destination)
    };
    let longest = routes.iter().filter(leads_there).map(|route| route.prefix).max()?;
    let mut devices = routes.iter().filter(leads_there).filter(|route| route.prefix == longest);
    let device = devices.next()?.device.as_ref()?;
    devices.all(|route| route.device.as_ref() == Some(device)).then(|| (device.clone(), longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(device: Option<&str>, destination: [u8; 4], prefix: u8, gateway: Option<[u8; 4]>) -> route::Route {
        route::Route {
            device: device.map(str::to_owned),
            destination: destination.into(),
            prefix,
            gateway: gateway.map(Into::into),
            flags: 1,
            metric: 0,
            mtu: 0,
        }
    }

    fn own(address: [u8; 4]) -> fib_trie::Route {
        fib_trie::Route {
            table: fib_trie::LOCAL,
            destination: address.into(),
            prefix: 32,
            scope: "host".to_owned(),
            kind: "LOCAL".to_owned(),
        }
    }

    #[test]
    fn an_address_is_of_the_device_that_its_network_is_on() {
        let routes = [
            route(Some("up"), [0, 0, 0, 0], 0, Some([10, 0, 0, 9])),
            route(Some("wide"), [10, 0, 0, 0], 8, None),
            route(Some("near"), [10, 7, 0, 0], 24, None),
            route(Some("far"), [10, 7, 0, 0], 28, Some([10, 7, 0, 9])),
            route(Some("one"), [192, 0, 2, 0], 24, None),
            route(Some("other"), [192, 0, 2, 0], 24, None),
            route(None, [198, 51, 100, 0], 24, None),
        ];
        let broadcast = fib_trie::Route { kind: "BROADCAST".to_owned(), ..own([10, 7, 0, 255]) };
        let tries = [
            own([10, 7, 0, 1]),
            own([127, 0, 0, 1]),
            // The address appears twice where the two tables share a trie.
            own([10, 7, 0, 1]),
            own([10, 1, 2, 3]),
            own([192, 0, 2, 1]),
            own([198, 51, 100, 1]),
            own([203, 0, 113, 1]),
            broadcast,
        ];
        let found: Vec<_> = of(&tries, &routes).into_iter().map(|own| (own.address.octets(), own.place)).collect();
        let on = |device: &str, prefix| Some((device.to_owned(), prefix));
        assert_eq!(
            found,
            [
                ([10, 1, 2, 3], on("wide", 8)),
                ([10, 7, 0, 1], on("near", 24)),
                ([127, 0, 0, 1], on("lo", 8)),
                ([192, 0, 2, 1], None),
                ([198, 51, 100, 1], None),
                ([203, 0, 113, 1], None),
            ]
        );
    }
}
