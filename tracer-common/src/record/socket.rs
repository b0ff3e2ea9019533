//! Records of a socket, and what the kernel side remembers of it between them.

use super::{Header, Opener};

/// The side of a connection that this socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordRole {
    /// Unknown (the socket is older than the trace).
    Unknown = 0,
    /// This side sent the first SYN.
    Client = 1,
    /// A listener's child.
    Server = 2,
    /// Waits for connections.
    Listener = 3,
}

impl RecordRole {
    /// Returns the role with the number `n`; [`RecordRole::Unknown`] for any other number.
    #[must_use]
    pub const fn from_number(n: u8) -> Self {
        match n {
            1 => Self::Client,
            2 => Self::Server,
            3 => Self::Listener,
            _ => Self::Unknown,
        }
    }
}

/// The socket was older than the trace when the kernel side first saw it.
pub const FLAG_PREEXISTING: u16 = 1 << 0;
/// accept() has handed the socket to a process.
pub const FLAG_ACCEPTED: u16 = 1 << 1;
/// A filter keeps this socket's records out. Never set in a record.
pub const FLAG_FILTERED: u16 = 1 << 2;
/// A further subflow of an MPTCP connection: the kernel opened it for the owner of the first subflow. `detail` of
/// `RecordKind::Connect` and `RecordKind::Established` is then the first subflow's number, if it is followed.
pub const FLAG_JOINED: u16 = 1 << 3;
/// A subflow of an MPTCP connection.
pub const FLAG_MPTCP: u16 = 1 << 4;
/// connect() or listen() itself caused the close; `errno` comes from its return value.
pub const FLAG_CALL_FAILED: u16 = 1 << 5;
/// The trace missed the transition to `CLOSE`; the record dates from the socket's destruction.
pub const FLAG_RECOVERED: u16 = 1 << 6;
/// The socket map was full: the kernel side remembers nothing of this socket between its records.
pub const FLAG_UNTRACKED: u16 = 1 << 7;
/// `established` was held back (the process filter was undecided then) and has no record yet.
pub const FLAG_ESTABLISHED_HELD: u16 = 1 << 8;
/// The opener is a kernel thread, or the kernel made the socket for itself while a process ran: no process owns it.
pub const FLAG_KERNEL: u16 = 1 << 10;
/// The process filter cannot be decided before accept(). Never set in a record.
pub const FLAG_UNDECIDED: u16 = 1 << 9;
/// The attempt began in a connect() with a traced return.
pub const FLAG_CONNECT_TRACED: u16 = 1 << 11;
/// The socket is or was in a map of sockets: programs may have moved its payload past TCP and its counters.
pub const FLAG_SOCKMAP: u16 = 1 << 12;
/// An IPv6 listener that takes no IPv4 (`IPV6_V6ONLY`).
pub const FLAG_V6ONLY: u16 = 1 << 13;
/// An IPv6 listener without [`FLAG_V6ONLY`]. If neither is set, the kernel side cannot read the option.
pub const FLAG_TAKES_V4: u16 = 1 << 14;

/// The kernel side's memory of a socket between its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SocketState {
    /// Unique among all connections of one run, never reused: a socket that disconnects and connects
    /// again gets a new id. A socket that is not in the table has an id made from its address, so that
    /// its records still belong together: unique among the live sockets.
    pub id: u64,
    /// First SYN (client) or first sight (others), `CLOCK_BOOTTIME` ns.
    pub started_ns: u64,
    /// End of the handshake, `CLOCK_BOOTTIME` ns; 0 before it.
    pub established_ns: u64,
    /// The task that connected, accepted or listened.
    pub opener: Opener,
    /// A [`RecordRole`].
    pub role: u8,
    /// 1 once the socket reached `CLOSE`. No flag: close() on one CPU and accept() on another may write
    /// at the same time, so each has a field of its own.
    pub closed: u8,
    /// `FLAG_*`.
    pub flags: u16,
    /// Inode of the socket's origin: the listener of a child, the MPTCP socket of a subflow with [`FLAG_JOINED`], a
    /// listener itself. 0 if unknown. (sockfs numbers in 32 bits, `get_next_ino`.)
    /// Any other client has no origin: see [`SocketState::err_soft`].
    /// The socket's own inode in `RecordKind::BindFailed`, and in `RecordKind::AcceptFailed` if the listener is
    /// older than the trace.
    pub parent: u32,
}

impl SocketState {
    /// Returns a client's `sk_err_soft` at the start of its connection: a rest of the socket's previous connection.
    /// 0 for none.
    #[must_use]
    pub const fn err_soft(&self) -> i32 {
        let opens = self.role == RecordRole::Client as u8 && self.flags & FLAG_JOINED == 0;
        if opens { self.parent.cast_signed() } else { 0 }
    }
}

/// Addresses, ports and namespace of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Tuple {
    /// Local address: words as they lie in memory, so bytes in network order.
    pub laddr: [u32; 4],
    /// Remote address.
    pub raddr: [u32; 4],
    /// Local port; 0 until one is bound.
    pub lport: u16,
    /// Remote port.
    pub rport: u16,
    /// 4 or 6; 0 if it, and with it the addresses and ports, could not be read.
    pub family: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Inode number of the network namespace; 0 if unknown.
    pub netns: u32,
    /// `sk_bound_dev_if`: the scope of link-local addresses; 0 if none.
    pub ifindex: u32,
}

/// Any event of a socket except its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SocketRecord {
    /// Common to all records.
    pub header: Header,
    /// The kernel side's memory of the socket at this event.
    pub state: SocketState,
    /// The addresses at this event.
    pub tuple: Tuple,
    /// State before ([`crate::tcp::TcpState`] by number; 0 if this is not a transition).
    pub old: u8,
    /// State after.
    pub new: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// Positive errno; 0 for none.
    pub errno: i32,
    /// `RecordKind::Listen`: the backlog. Others: the socket's inode; 0 if it has none or
    /// the kernel side had no reason to look.
    pub detail: u64,
}

/// `detail` of a `RecordKind::Listen` whose backlog could not be read.
pub const BACKLOG_UNKNOWN: u64 = u64::MAX;

const _: () = {
    assert!(size_of::<SocketState>() == 96);
    assert!(size_of::<Tuple>() == 48);
    assert!(size_of::<SocketRecord>() == 176);
};
