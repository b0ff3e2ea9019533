//! The values of the filter options.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::FilterError;

/// The kernel's `PID_MAX_LIMIT` on 64-bit machines.
const PID_MAX: u32 = 1 << 22;
/// `PROC_DYNAMIC_FIRST`: the lowest inode number of a namespace.
const FIRST_NAMESPACE: u32 = 0xf000_0000;

/// A value, wanted or (with a `!` before it) excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selector<T> {
    /// The value.
    pub value: T,
    /// It had a `!`.
    pub exclude: bool,
}

impl<T: FromStr<Err = FilterError>> FromStr for Selector<T> {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let text = text.trim();
        let (exclude, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if text.is_empty() {
            return Err(FilterError::Empty);
        }
        Ok(Self { value: text.parse()?, exclude })
    }
}

/// A process id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pid(pub u32);

impl FromStr for Pid {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        // Accepts any number: an impossible one gets the error "no such process".
        match text.parse() {
            Ok(pid) if pid > 0 => Ok(Self(pid)),
            _ => Err(FilterError::Pid),
        }
    }
}

/// The name of a drop or reset reason, as the kernel writes it; only the running kernel knows its reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonName(pub String);

impl FromStr for ReasonName {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let name = text.trim().to_ascii_uppercase();
        let name = name.trim_start_matches("SKB_DROP_REASON_").trim_start_matches("SK_RST_REASON_");
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if plain { Ok(Self(name.to_owned())) } else { Err(FilterError::Reason) }
    }
}

/// Ports from `low` to `high`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// The lowest.
    pub low: u16,
    /// The highest.
    pub high: u16,
}

impl PortRange {
    /// Whether `port` is one of them.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        (self.low..=self.high).contains(&port)
    }
}

impl FromStr for PortRange {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let port = |text: &str| match text.parse() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(FilterError::Port),
        };
        let (low, high) = match text.split_once('-') {
            Some((low, high)) => (port(low)?, port(high)?),
            None => (port(text)?, port(text)?),
        };
        if low > high {
            return Err(FilterError::PortRange { low, high });
        }
        Ok(Self { low, high })
    }
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix {
    addr: IpAddr,
    bits: u8,
}

impl Prefix {
    /// The prefix of `bits` bits that contains `addr`.
    #[must_use]
    pub fn new(addr: IpAddr, bits: u8) -> Self {
        let addr = match addr {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask4(bits))),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask6(bits))),
        };
        Self { addr, bits }
    }

    /// The first address.
    #[must_use]
    pub fn addr(&self) -> IpAddr {
        self.addr
    }

    /// The number of bits that count.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether it contains `addr`. A v4-mapped address is IPv4 in the stream, and so it is here.
    #[must_use]
    pub fn contains(&self, addr: IpAddr) -> bool {
        match (self.addr, addr) {
            (IpAddr::V4(own), IpAddr::V4(addr)) => addr.to_bits() & mask4(self.bits) == own.to_bits(),
            (IpAddr::V6(own), IpAddr::V6(addr)) => addr.to_bits() & mask6(self.bits) == own.to_bits(),
            _ => false,
        }
    }

    /// Whether it contains every address of `other`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.bits <= other.bits && self.contains(other.addr)
    }
}

fn mask4(bits: u8) -> u32 {
    u32::MAX.checked_shl(32_u32.saturating_sub(bits.into())).unwrap_or(0)
}

fn mask6(bits: u8) -> u128 {
    u128::MAX.checked_shl(128_u32.saturating_sub(bits.into())).unwrap_or(0)
}

impl FromStr for Prefix {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let (addr, bits) = match text.split_once('/') {
            Some((addr, bits)) => (addr, Some(bits)),
            None => (text, None),
        };
        if addr.contains('%') {
            return Err(FilterError::AddressScope);
        }
        let addr = addr.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(addr);
        let addr: IpAddr = addr.parse().map_err(|_| FilterError::Address)?;
        let (family, most) = if addr.is_ipv4() { ("IPv4", 32) } else { ("IPv6", 128) };
        let bits = match bits {
            // `parse` would accept `+8`.
            Some(bits) if bits.is_empty() || !bits.bytes().all(|b| b.is_ascii_digit()) => {
                return Err(FilterError::Address);
            }
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most),
            None => Some(most),
        };
        let bits = bits.ok_or(FilterError::PrefixLength { family, most })?;
        Ok(match addr {
            IpAddr::V6(v6) if bits >= 96 && v6.to_ipv4_mapped().is_some() => Self::new(addr.to_canonical(), bits - 96),
            addr => Self::new(addr, bits),
        })
    }
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// By number.
    Uid(u32),
    /// By name.
    Name(String),
}

impl FromStr for User {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Ok(text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Uid))
    }
}

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Netns {
    /// A process's namespace; if no such process exists, the `ip netns` name that is this number.
    Pid(u32),
    /// By its inode number.
    Inode(u32),
    /// A name of `ip netns`, or a path.
    Name(String),
}

impl FromStr for Netns {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Ok(match text.parse::<u32>() {
            Ok(inode) if inode >= FIRST_NAMESPACE => Self::Inode(inode),
            Ok(pid) if pid > 0 && pid <= PID_MAX => Self::Pid(pid),
            // The format that readlink shows is `net:[4026531840]`.
            _ => match text.strip_prefix("net:[").and_then(|t| t.strip_suffix(']')).map(str::parse) {
                Some(Ok(inode)) => Self::Inode(inode),
                _ => Self::Name(text.to_owned()),
            },
        })
    }
}

/// A cgroup's path from the root of its hierarchy: absolute, without a slash at the end; the root
/// is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup(pub String);

impl Cgroup {
    /// Whether `path` is this cgroup or below it.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        path.strip_prefix(self.0.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for Cgroup {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        // Completion of a path in the file system adds the mount point.
        let mount = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
        let path = mount
            .iter()
            .find_map(|mount| text.strip_prefix(mount).filter(|rest| rest.is_empty() || rest.starts_with('/')));
        let mut cgroup = String::new();
        for part in path.unwrap_or(text).split('/').filter(|part| !part.is_empty() && *part != ".") {
            if part == ".." {
                return Err(FilterError::Cgroup);
            }
            cgroup.push('/');
            cgroup.push_str(part);
        }
        Ok(Self(cgroup))
    }
}

/// A container, by the beginning of its id or by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerName(pub String);

impl ContainerName {
    /// Whether `id`, from the cgroup path, matches. Only ids of the usual form may be abbreviated: `web` is not
    /// `web-2`.
    #[must_use]
    pub fn matches(&self, id: &str) -> bool {
        let is_id = id.len() >= 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
        id == self.0 || (is_id && id.starts_with(&self.0))
    }
}

impl FromStr for ContainerName {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn an_exclamation_mark_excludes() {
        assert_eq!("!80".parse(), Ok(Selector { value: PortRange { low: 80, high: 80 }, exclude: true }));
        assert_eq!("80".parse(), Ok(Selector { value: PortRange { low: 80, high: 80 }, exclude: false }));
        for text in ["", "!", " "] {
            assert_eq!(text.parse::<Selector<PortRange>>(), Err(FilterError::Empty));
        }
    }

    impl PartialEq for FilterError {
        fn eq(&self, other: &Self) -> bool {
            self.to_string() == other.to_string()
        }
    }

    #[test]
    fn ports_are_numbers_and_ranges() {
        assert_eq!("1-65535".parse(), Ok(PortRange { low: 1, high: 65535 }));
        assert_eq!("9-8".parse::<PortRange>(), Err(FilterError::PortRange { low: 9, high: 8 }));
        for text in ["0", "65536", "-1", "1-", "-", "http", "1-2-3", "80x"] {
            assert_eq!(text.parse::<PortRange>(), Err(FilterError::Port), "{text}");
        }
    }

    #[test]
    fn pids_are_positive() {
        assert_eq!("1".parse(), Ok(Pid(1)));
        for text in ["0", "-1", "x", "4294967296"] {
            assert_eq!(text.parse::<Pid>(), Err(FilterError::Pid), "{text}");
        }
    }

    #[test]
    fn prefixes_take_both_families() {
        for (text, addr, within) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.1.2.3/8", "10.0.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "1.2.3.4", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("[2001:db8::1]", "2001:db8::1", true),
            ("::ffff:10.0.0.0/104", "10.2.3.4", true),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
        ] {
            assert_eq!(prefix(text).contains(addr.parse().unwrap()), within, "{text} {addr}");
        }
        assert!(prefix("10.0.0.0/8").covers(&prefix("10.1.0.0/16")));
        assert!(!prefix("10.1.0.0/16").covers(&prefix("10.0.0.0/8")));
        assert!(prefix("0.0.0.0/0").covers(&prefix("0.0.0.0/0")));
    }

    #[test]
    fn broken_addresses_are_refused() {
        for text in ["10.0.0", "10.0.0.1/", "10.0.0.1/x", "10.0.0.1/+8", "example.org", "10.0.0.1/8/8"] {
            assert_eq!(text.parse::<Prefix>(), Err(FilterError::Address), "{text}");
        }
        assert_eq!("10.0.0.1/33".parse::<Prefix>(), Err(FilterError::PrefixLength { family: "IPv4", most: 32 }));
        assert_eq!("::/300".parse::<Prefix>(), Err(FilterError::PrefixLength { family: "IPv6", most: 128 }));
        assert_eq!("fe80::1%eth0".parse::<Prefix>(), Err(FilterError::AddressScope));
    }

    #[test]
    fn a_namespace_is_a_process_an_inode_or_a_name() {
        assert_eq!("4026531840".parse(), Ok(Netns::Inode(4_026_531_840)));
        assert_eq!("net:[4026531840]".parse(), Ok(Netns::Inode(4_026_531_840)));
        assert_eq!("123".parse(), Ok(Netns::Pid(123)));
        assert_eq!("blue".parse(), Ok(Netns::Name("blue".into())));
    }

    #[test]
    fn cgroups_are_paths_from_the_root() {
        for (text, path) in [
            ("/system.slice/a.service", "/system.slice/a.service"),
            ("system.slice//a.service/", "/system.slice/a.service"),
            ("/sys/fs/cgroup/system.slice", "/system.slice"),
            ("/sys/fs/cgroup/unified/x", "/x"),
            ("/sys/fs/cgroupx", "/sys/fs/cgroupx"),
            ("/", ""),
        ] {
            assert_eq!(text.parse(), Ok(Cgroup(path.into())), "{text}");
        }
        assert_eq!("/a/../b".parse::<Cgroup>(), Err(FilterError::Cgroup));
        let slice: Cgroup = "/a/b".parse().unwrap();
        assert!(slice.contains("/a/b") && slice.contains("/a/b/c"));
        assert!(!slice.contains("/a") && !slice.contains("/a/bc") && !slice.contains("/"));
        let root: Cgroup = "/".parse().unwrap();
        assert!(root.contains("/") && root.contains("/a"));
    }

    #[test]
    fn container_ids_may_be_cut_short_and_names_not() {
        let id = "3f4e8a1b2c3d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789ab";
        assert!(ContainerName("3f4e8a1b2c3d".into()).matches(id));
        assert!(!ContainerName("f4e8a1b2c3d".into()).matches(id));
        assert!(ContainerName("web".into()).matches("web"));
        assert!(!ContainerName("web".into()).matches("web-2"));
    }
}
