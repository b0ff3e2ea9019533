//! From the text of a word to what it may be.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use super::{Unresolved, What};

/// A word that cannot be anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhatError {
    /// An empty word.
    #[error("an empty word names nothing; write a process, an address, :PORT, a container, a namespace or a unit")]
    Empty,
    /// A port beyond 65535, or 0.
    #[error("`{0}` has no port that exists: ports go from 1 to 65535")]
    Port(String),
}

impl FromStr for What {
    type Err = WhatError;

    fn from_str(text: &str) -> Result<Self, WhatError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(WhatError::Empty);
        }
        let plain = Self { text: text.to_owned(), ..Self::default() };
        if let Some(addr) = address(text) {
            return Ok(Self { addrs: vec![addr], ..plain });
        }
        if let Ok(number) = text.parse() {
            return Ok(Self { number: Some(number), is_name: true, ..plain });
        }
        let Some((host, port)) = text.rsplit_once(':') else { return Ok(Self { is_name: true, ..plain }) };
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = if digits { Some(number(port).ok_or_else(|| WhatError::Port(text.to_owned()))?) } else { None };
        Ok(match (address(host), host.is_empty()) {
            (Some(addr), _) if port.is_some() => Self { addrs: vec![addr], port, is_end: true, ..plain },
            // `ADDR:https`: the service is looked up.
            (Some(addr), _) => Self { addrs: vec![addr], is_end: true, ..plain },
            (None, true) => Self { port, ..plain },
            (None, false) => Self { port, is_end: true, is_name: true, ..plain },
        })
    }
}

/// `ADDR`, `[V6]`; a v4-mapped address is IPv4 in the stream, and so it is here. A zone says nothing that addresses
/// of the stream have.
fn address(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let bare = inner.unwrap_or(text);
    let bare = bare.split_once('%').map_or(bare, |(addr, _)| addr);
    match inner {
        Some(_) => bare.parse::<Ipv6Addr>().ok().map(|addr| IpAddr::V6(addr).to_canonical()),
        None => bare.parse::<IpAddr>().ok().map(|addr| addr.to_canonical()),
    }
}

fn number(port: &str) -> Option<u16> {
    port.parse().ok().filter(|port| *port > 0)
}

/// `ADDR:PORT` as the causes write it.
pub(super) fn end(text: &str) -> Option<(IpAddr, u16)> {
    let end: SocketAddr = text.parse().ok()?;
    Some((end.ip().to_canonical(), end.port()))
}

/// Whether a word may be the name of a host: its characters are those of such names.
fn is_host(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    text.len() <= 253 && text.bytes().all(plain) && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

impl What {
    /// What the host has to look up: names of hosts and services.
    #[must_use]
    pub fn unresolved(&self) -> Vec<Unresolved<'_>> {
        let (host, service) = match self.text.rsplit_once(':') {
            Some((host, service)) => (host, service),
            None if self.is_name && self.number.is_none() => (self.text.as_str(), self.text.as_str()),
            None => return Vec::new(),
        };
        let service = Some(service).filter(|name| self.port.is_none() && self.needs_service(name));
        let host = Some(host).filter(|name| self.addrs.is_empty() && is_host(name));
        host.map(Unresolved::Host).into_iter().chain(service.map(Unresolved::Service)).collect()
    }

    fn needs_service(&self, name: &str) -> bool {
        // An IPv6 address has colons and no service.
        (self.addrs.is_empty() || self.is_end) && is_host(name)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn what(text: &str) -> What {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_are_processes_or_namespaces() {
        let word = what("1234");
        assert_eq!((word.number, word.is_name, word.port), (Some(1234), true, None));
        assert_eq!(what("4026531840").number, Some(4_026_531_840));
        assert_eq!(what("1234").unresolved(), []);
    }

    #[test]
    fn addresses_and_ports() {
        for (text, addr, port) in [
            ("10.0.0.5", Some("10.0.0.5"), None),
            ("fd00::1", Some("fd00::1"), None),
            ("[fd00::1]", Some("fd00::1"), None),
            ("fe80::1%eth0", Some("fe80::1"), None),
            ("::ffff:10.0.0.5", Some("10.0.0.5"), None),
            ("10.0.0.5:443", Some("10.0.0.5"), Some(443)),
            ("[fd00::1]:443", Some("fd00::1"), Some(443)),
            ("[::ffff:10.0.0.5]:443", Some("10.0.0.5"), Some(443)),
            (":443", None, Some(443)),
        ] {
            let word = what(text);
            assert_eq!(
                word.addrs,
                addr.map(|addr| addr.parse().unwrap()).into_iter().collect::<Vec<IpAddr>>(),
                "{text}"
            );
            assert_eq!((word.port, word.is_end), (port, addr.is_some() && port.is_some()), "{text}");
            assert_eq!((word.is_name, word.number), (false, None), "{text}");
            assert_eq!(word.unresolved(), [], "{text}");
        }
    }

    #[test]
    fn names_may_be_hosts_and_services() {
        assert_eq!(what("redis").unresolved(), [Unresolved::Host("redis"), Unresolved::Service("redis")]);
        assert_eq!(what("db.example:5432").unresolved(), [Unresolved::Host("db.example")]);
        assert_eq!(what("db:postgresql").unresolved(), [Unresolved::Host("db"), Unresolved::Service("postgresql")]);
        assert_eq!(what(":https").unresolved(), [Unresolved::Service("https")]);
        assert_eq!(what("10.0.0.5:https").unresolved(), [Unresolved::Service("https")]);
        assert_eq!(what("nginx*").unresolved(), [], "a pattern is no name of a host");
        assert_eq!(what("a b").unresolved(), []);
        assert_eq!(what("evil\x1b[2J").unresolved(), []);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(" ".parse::<What>(), Err(WhatError::Empty));
        for text in [":0", ":65536", "10.0.0.5:99999", "db:0"] {
            assert!(matches!(text.parse::<What>(), Err(WhatError::Port(_))), "{text}");
        }
    }
}
