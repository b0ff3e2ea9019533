//! The order of the table.

use std::cmp::{Ordering, Reverse};
use std::thread;

use super::picture::Picture;
use super::proto::State;
use super::row::{Kind, Row};

/// From this many sockets on, two threads sort them.
const MANY: usize = 8192;

/// The keys of `--sort`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Key {
    /// Protocol, listeners first, then by local port and address
    #[default]
    Proto,
    /// State
    State,
    /// Local port and address
    Local,
    /// Remote address and port
    Remote,
    /// Process id
    Pid,
    /// Name of the process
    Comm,
    /// User
    Uid,
    /// Most bytes to read first
    RecvQ,
    /// Most bytes to send first
    SendQ,
    /// Longest round-trip time first
    Rtt,
    /// Most retransmits first
    Retransmits,
    /// Most bytes sent first
    Tx,
    /// Most bytes received first
    Rx,
}

impl Key {
    /// Whether the key needs the figures of TCP connections.
    #[must_use]
    pub const fn needs_details(self) -> bool {
        matches!(self, Self::Rtt | Self::Retransmits | Self::Tx | Self::Rx)
    }
}

/// A number that nearly always decides, and the place of a row: comparing rows would take most of the time.
pub(super) type Keyed = (u128, u32);

/// Returns the key of the row at `at`, which nearly always decides its place within a namespace.
pub(super) fn keyed(at: u32, row: &Row, key: Key) -> Keyed {
    (packed(row, key), at)
}

/// Returns the places of `rows` in the order of `key`, except for keys of owners (which need not be known yet).
/// `keyed` has all rows, mostly in sorted runs.
pub(super) fn places(rows: &[Row], mut keyed: Vec<Keyed>, key: Key) -> Vec<u32> {
    // The stable sort finds the runs and merges them.
    keyed.sort();
    let compare = |(_, a): &Keyed, (_, b): &Keyed| match (row(rows, *a), row(rows, *b)) {
        (Some(one), Some(two)) => compare_rows(one, two, key).then(a.cmp(b)),
        _ => a.cmp(b),
    };
    for same in keyed.chunk_by_mut(|(one, _), (other, _)| one == other).filter(|same| same.len() > 1) {
        sort(same, compare);
    }
    keyed.into_iter().map(|(_, at)| at).collect()
}

fn sort(keyed: &mut [Keyed], compare: impl Fn(&Keyed, &Keyed) -> Ordering + Copy + Send + Sync) {
    if keyed.len() < MANY {
        keyed.sort_unstable_by(compare);
        return;
    }
    let (left, right) = keyed.split_at_mut(keyed.len() / 2);
    thread::scope(|scope| {
        scope.spawn(|| left.sort_unstable_by(compare));
        right.sort_unstable_by(compare);
    });
    // The stable sort finds the two runs and merges them.
    keyed.sort_by(compare);
}

/// Joins the sorted places of each namespace: the own namespace first, then by name and number.
#[must_use]
pub fn by_namespace(picture: &Picture, mut parts: Vec<(u32, Vec<u32>)>) -> Vec<u32> {
    let ranks = Ranks::of(picture);
    parts.sort_by_cached_key(|(netns, _)| ranks.of_netns(*netns));
    let mut parts = parts.into_iter().map(|(_, places)| places);
    let mut places = parts.next().unwrap_or_default();
    parts.for_each(|part| places.extend(part));
    places
}

/// Sorts `places`, which are in the order of [`by_namespace`], by `key` if that is a key of owners.
pub fn by_owner(picture: &Picture, places: &mut [u32], key: Key) {
    if !matches!(key, Key::Pid | Key::Comm) {
        return;
    }
    let ranks = Ranks::of(picture);
    places.sort_by_cached_key(|at| {
        let row = row(&picture.rows, *at);
        let pid = row.and_then(|row| picture.owners.of(row).pids.first().copied());
        let comm = pid.filter(|_| key == Key::Comm).and_then(|pid| picture.owners.process(pid));
        // Sockets without a known holder come last.
        (row.map_or(0, |row| ranks.of_netns(row.netns)), pid.is_none(), comm.map(|owner| owner.comm.as_str()), pid)
    });
}

/// The order of namespaces.
struct Ranks(Vec<u32>);

impl Ranks {
    fn of(picture: &Picture) -> Self {
        let mut names: Vec<u32> = picture.namespaces.keys().copied().collect();
        names.sort_by_key(|inode| {
            let name = picture.namespaces.get(inode).and_then(|netns| netns.name.clone());
            (Some(*inode) != picture.own_netns, name.is_none(), name, *inode)
        });
        Self(names)
    }

    fn of_netns(&self, netns: u32) -> usize {
        // Most hosts have one namespace: skips the search for each socket.
        if self.0.len() < 2 { 0 } else { self.0.iter().position(|inode| *inode == netns).unwrap_or(self.0.len()) }
    }
}

/// Packs the first parts of [`natural`] into a number for the default order; 0 for other keys.
fn packed(row: &Row, key: Key) -> u128 {
    let mut packed = 0;
    if key == Key::Proto {
        let ((port, is_v6, [laddr, ..]), ([raddr, ..], rport)) = (local(row), remote(row));
        packed |= u128::from(row.proto as u8) << 112 | u128::from(row.state != State::Listen) << 104;
        packed |= u128::from(port) << 88 | u128::from(is_v6) << 80 | u128::from(laddr) << 48;
        // The other words of the local address come before the rest, and do not fit.
        if !is_v6 {
            packed |= u128::from(raddr) << 16 | u128::from(rport);
        }
    }
    packed
}

fn row(rows: &[Row], at: u32) -> Option<&Row> {
    rows.get(usize::try_from(at).ok()?)
}

/// Compares two sockets of one namespace.
pub(super) fn compare_rows(a: &Row, b: &Row, key: Key) -> Ordering {
    by_key(a, b, key).then_with(|| natural(a).cmp(&natural(b)))
}

fn by_key(a: &Row, b: &Row, key: Key) -> Ordering {
    // Most first, unknown last.
    let most = |of: &dyn Fn(&Row) -> Option<u64>| Reverse(of(a)).cmp(&Reverse(of(b)));
    match key {
        Key::State => a.state.cmp(&b.state),
        Key::Local => local(a).cmp(&local(b)),
        Key::Remote => remote(a).cmp(&remote(b)),
        Key::Uid => a.uid.cmp(&b.uid),
        Key::RecvQ => most(&|row| Some(row.recv_q.into())),
        Key::SendQ => most(&|row| Some(row.send_q.into())),
        Key::Rtt => most(&|row| row.tcp()?.srtt_us.map(Into::into)),
        Key::Retransmits => most(&|row| row.tcp()?.retransmits.map(Into::into)),
        Key::Tx => most(&|row| row.tcp()?.tx_bytes),
        Key::Rx => most(&|row| row.tcp()?.rx_bytes),
        Key::Proto | Key::Pid | Key::Comm => Ordering::Equal,
    }
}

/// Returns the natural order: protocol, listeners first, then by port and address.
fn natural(row: &Row) -> (u8, bool, Local, Remote) {
    (row.proto as u8, row.state != State::Listen, local(row), remote(row))
}

/// Port, whether it is IPv6's, and address.
type Local = (u16, bool, [u32; 4]);
/// Address and port.
type Remote = ([u32; 4], u16);

fn local(row: &Row) -> Local {
    match &row.kind {
        Kind::Inet(inet) => (inet.lport, inet.family == 6, inet.laddr.map(u32::from_be)),
        Kind::Netlink(netlink) => (netlink.protocol.into(), false, [netlink.portid, 0, 0, 0]),
        Kind::Packet(packet) => (0, false, [packet.ifindex, 0, 0, 0]),
        Kind::Unix(_) => (0, false, [0, 0, 0, u32::try_from(row.inode).unwrap_or(u32::MAX)]),
    }
}

fn remote(row: &Row) -> Remote {
    row.inet().map_or(([0; 4], 0), |inet| (inet.raddr.map(u32::from_be), inet.rport))
}
