//! The order of the table.

use std::cmp::{Ordering, Reverse};
use std::thread;

use super::collect::Picture;
use super::proto::State;
use super::row::{Kind, Row};

/// From so many sockets on two threads put them in order.
const MANY: usize = 8192;

/// What `--sort` takes.
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
    /// It needs the figures of TCP connections.
    #[must_use]
    pub const fn needs_details(self) -> bool {
        matches!(self, Self::Rtt | Self::Retransmits | Self::Tx | Self::Rx)
    }
}

/// The places of `picture.rows`, in the order of `key` as far as it is none of their owners' (these
/// need not be known yet), namespace by namespace: the own one first, then by name and number.
#[must_use]
pub fn by_table(picture: &Picture, key: Key) -> Vec<u32> {
    let ranks = Ranks::of(picture);
    // What decides nearly always is put into one number first: comparing rows is most of the time.
    let mut keyed: Vec<Keyed> =
        (0_u32..).zip(&picture.rows).map(|(at, row)| (packed(ranks.rank(row), row, key), at)).collect();
    sort(&mut keyed, Ord::cmp);
    let compare = |(_, a): &Keyed, (_, b): &Keyed| match (row(picture, *a), row(picture, *b)) {
        (Some(one), Some(two)) => by_key(one, two, key).then_with(|| natural(one).cmp(&natural(two))).then(a.cmp(b)),
        _ => a.cmp(b),
    };
    for same in keyed.chunk_by_mut(|(one, _), (other, _)| one == other).filter(|same| same.len() > 1) {
        sort(same, compare);
    }
    keyed.into_iter().map(|(_, at)| at).collect()
}

/// What decides nearly always, and the place of a row.
type Keyed = (u128, u32);

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
    // This one finds the two runs and merges them.
    keyed.sort_by(compare);
}

/// Puts `places`, which are in the order of [`by_table`], in that of `key` if it is one of owners.
pub fn by_owner(picture: &Picture, places: &mut [u32], key: Key) {
    if !matches!(key, Key::Pid | Key::Comm) {
        return;
    }
    let ranks = Ranks::of(picture);
    places.sort_by_cached_key(|at| {
        let row = row(picture, *at);
        let pid = row.and_then(|row| picture.owners.of(row).pids.first().copied());
        let comm = pid.filter(|_| key == Key::Comm).and_then(|pid| picture.owners.process(pid));
        // Those that nobody is known to hold last.
        (row.map_or(0, |row| ranks.rank(row)), pid.is_none(), comm.map(|owner| owner.comm.as_str()), pid)
    });
}

/// Which namespace comes first.
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

    fn rank(&self, row: &Row) -> usize {
        // Nearly always one: no search for each socket.
        if self.0.len() < 2 { 0 } else { self.0.iter().position(|inode| *inode == row.netns).unwrap_or(self.0.len()) }
    }
}

/// The namespace's rank, and in the natural order what comes first of [`natural`].
fn packed(rank: usize, row: &Row, key: Key) -> u128 {
    let mut packed = u128::try_from(rank).unwrap_or(u128::MAX) << 112;
    if key == Key::Proto {
        let ((port, [laddr, ..]), ([raddr, ..], rport)) = (local(row), remote(row));
        packed |= u128::from(row.proto as u8) << 104 | u128::from(row.state != State::Listen) << 96;
        packed |= u128::from(port) << 80 | u128::from(laddr) << 48;
        // Beyond the first word of the local address nothing may be compared yet.
        if row.inet().is_some_and(|inet| inet.family == 4) {
            packed |= u128::from(raddr) << 16 | u128::from(rport);
        }
    }
    packed
}

fn row(picture: &Picture, at: u32) -> Option<&Row> {
    picture.rows.get(usize::try_from(at).ok()?)
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

/// Protocol, listeners first, then by port and address.
fn natural(row: &Row) -> (u8, bool, Local, Remote) {
    (row.proto as u8, row.state != State::Listen, local(row), remote(row))
}

/// Port and address.
type Local = (u16, [u32; 4]);
/// Address and port.
type Remote = ([u32; 4], u16);

fn local(row: &Row) -> Local {
    match &row.kind {
        Kind::Inet(inet) => (inet.lport, inet.laddr.map(u32::from_be)),
        Kind::Netlink(netlink) => (netlink.protocol.into(), [netlink.portid, 0, 0, 0]),
        Kind::Packet(packet) => (0, [packet.ifindex, 0, 0, 0]),
        Kind::Unix(_) => (0, [0, 0, 0, u32::try_from(row.inode).unwrap_or(u32::MAX)]),
    }
}

fn remote(row: &Row) -> Remote {
    row.inet().map_or(([0; 4], 0), |inet| (inet.raddr.map(u32::from_be), inet.rport))
}
