//! The order of the table.

use std::cmp::{Ordering, Reverse};

use super::collect::Picture;
use super::proto::State;
use super::row::{Kind, Row};

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

    /// It needs to know the owners' names or ids.
    const fn is_of_owner(self) -> bool {
        matches!(self, Self::Pid | Self::Comm)
    }
}

/// The places in `picture.rows` of `shown`, in the order of `key`, namespace by namespace: the own
/// one first, then by name and number.
pub fn sort(picture: &Picture, shown: &mut [u32], key: Key) {
    let mut names: Vec<u32> = picture.namespaces.keys().copied().collect();
    names.sort_by_key(|inode| {
        let name = picture.namespaces.get(inode).and_then(|netns| netns.name.clone());
        (Some(*inode) != picture.own_netns, name.is_none(), name, *inode)
    });
    let rank = |row: &Row| {
        // Nearly always one: no search for each socket.
        if names.len() < 2 { 0 } else { names.iter().position(|inode| *inode == row.netns).unwrap_or(names.len()) }
    };
    // What decides nearly always is put into one number first: comparing rows is most of the time.
    let mut keyed: Vec<(u128, u32)> =
        shown.iter().map(|at| (row(picture, *at).map_or(0, |row| packed(rank(row), row, key)), *at)).collect();
    keyed.sort_unstable_by(|(one, a), (two, b)| {
        one.cmp(two).then_with(|| match (row(picture, *a), row(picture, *b)) {
            (Some(one), Some(two)) => {
                by_key(picture, one, two, key).then_with(|| natural(one).cmp(&natural(two))).then(a.cmp(b))
            }
            _ => a.cmp(b),
        })
    });
    for (place, (_, at)) in shown.iter_mut().zip(keyed) {
        *place = at;
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

fn by_key(picture: &Picture, a: &Row, b: &Row, key: Key) -> Ordering {
    if key.is_of_owner() {
        let of = |row: &Row| picture.owners.of(row).pids.first().copied();
        let (one, two) = (of(a), of(b));
        let name = |pid: Option<u32>| pid.and_then(|pid| picture.owners.process(pid)).map(|owner| owner.comm.as_str());
        let names = if key == Key::Comm { name(one).cmp(&name(two)) } else { Ordering::Equal };
        return one.is_none().cmp(&two.is_none()).then(names).then(one.cmp(&two));
    }
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
