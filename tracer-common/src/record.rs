//! The records that travel through the ring buffer: fixed layout, explicit padding, a version.
//!
//! Integers are in host order (the ring never leaves the machine; a recording states its byte
//! order). Addresses are bytes in network order, IPv4 in the first four.

use crate::{
    drops::{DropRecord, SegmentRecord},
    silence::{IcmpError, Silence},
    tcp::TcpState,
};

/// Version of the layouts in this file. A change of any layout changes it.
pub const RECORD_VERSION: u8 = 1;

/// The kind of event that a record reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// `CLOSE → SYN_SENT`: a connection attempt has begun. [`SocketRecord`].
    Connect = 1,
    /// connect() failed before the socket left `CLOSE`; `errno` says why. [`SocketRecord`].
    ConnectFailed = 2,
    /// The handshake is done, either role. [`SocketRecord`].
    Established = 3,
    /// accept() handed the socket to a process. [`SocketRecord`].
    Accept = 4,
    /// The socket listens; `detail` is the backlog, or [`BACKLOG_UNKNOWN`]. [`SocketRecord`].
    Listen = 5,
    /// The socket reached `CLOSE`. [`CloseRecord`].
    Close = 6,
    /// Any transition; only if [`crate::settings::WANT_STATES`] is set. [`SocketRecord`].
    State = 7,
    /// The kernel reported `errno` on the socket. [`SocketRecord`].
    Error = 8,
    /// A socket is gone: it closed before any accept(), or the trace missed its end and another socket now uses its
    /// memory (then its addresses are unknown). [`SocketRecord`].
    Destroyed = 9,
    /// bind() failed; `errno` says why, the local end of the tuple is the address asked for, `detail` is the protocol.
    /// [`SocketRecord`].
    BindFailed = 12,
    /// accept() failed on a listener, `detail` times, for lack of descriptors or memory; the opener is the task that
    /// called it. [`SocketRecord`].
    AcceptFailed = 13,
    /// A process forked. [`ForkRecord`].
    Fork = 16,
    /// A process executed a program. [`ExecRecord`].
    Exec = 17,
    /// A process ended. [`ExitRecord`].
    Exit = 18,
    /// The kernel dropped a packet. [`DropRecord`].
    Drop = 32,
    /// The kernel retransmitted a segment. [`SegmentRecord`].
    Retransmit = 33,
    /// The kernel sent or received RST. [`SegmentRecord`].
    Reset = 34,
}

impl RecordKind {
    /// Returns the kind with the number `n`.
    #[must_use]
    pub const fn from_number(n: u8) -> Option<Self> {
        Some(match n {
            1 => Self::Connect,
            2 => Self::ConnectFailed,
            3 => Self::Established,
            4 => Self::Accept,
            5 => Self::Listen,
            6 => Self::Close,
            7 => Self::State,
            8 => Self::Error,
            9 => Self::Destroyed,
            12 => Self::BindFailed,
            13 => Self::AcceptFailed,
            16 => Self::Fork,
            17 => Self::Exec,
            18 => Self::Exit,
            32 => Self::Drop,
            33 => Self::Retransmit,
            34 => Self::Reset,
            _ => return None,
        })
    }

    /// Returns the size in bytes of a record of this kind.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Close => size_of::<CloseRecord>(),
            Self::Fork => size_of::<ForkRecord>(),
            Self::Exec => size_of::<ExecRecord>(),
            Self::Exit => size_of::<ExitRecord>(),
            Self::Drop => size_of::<DropRecord>(),
            Self::Retransmit | Self::Reset => size_of::<SegmentRecord>(),
            _ => size_of::<SocketRecord>(),
        }
    }
}

/// The first bytes of every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// A [`RecordKind`].
    pub kind: u8,
    /// [`RECORD_VERSION`].
    pub version: u8,
    /// Zero.
    pub reserved: [u8; 6],
    /// `CLOCK_BOOTTIME` at the event, in nanoseconds.
    pub boot_ns: u64,
}

/// The task that opened a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Opener {
    /// Process (thread group) id in the initial pid namespace; 0 if no task has opened the socket yet.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Effective uid in the initial user namespace; [`UID_UNKNOWN`] if unreadable.
    pub uid: u32,
    /// Real uid, as `bpf_get_current_uid_gid` gives it.
    pub real_uid: u32,
    /// Start of the process (not of the thread) on `CLOCK_BOOTTIME`, in nanoseconds; 0 if unknown.
    pub start_ns: u64,
    /// Id of the task's cgroup in the v2 hierarchy; 0 if unknown.
    pub cgroup_id: u64,
    /// The thread's `task->comm`, padded with zeros.
    pub comm: [u8; 16],
    /// The process's `task->group_leader->comm`; zeros if unreadable.
    pub process_comm: [u8; 16],
}

impl Opener {
    /// No task.
    pub const NOBODY: Self =
        Self { pid: 0, tid: 0, uid: 0, real_uid: 0, start_ns: 0, cgroup_id: 0, comm: [0; 16], process_comm: [0; 16] };
}

/// No user has this uid (`INVALID_UID`).
pub const UID_UNKNOWN: u32 = u32::MAX;

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
/// [`RecordKind::Connect`] and [`RecordKind::Established`] is then the first subflow's number, if it is followed.
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

/// A connect() in progress, kept per task from its entry until the socket leaves `CLOSE`, and again from a failure
/// inside it to its return. Not kept while the call waits for an answer: traced programs choose how many calls wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Connecting {
    /// Address of the `struct sock`.
    pub sk: u64,
    /// The stage reached: `CONNECTING_*` or `CALL_LISTEN*`.
    pub progress: u64,
    /// Place of the address in the caller's memory; 0 if `addr` is the kernel's own copy.
    pub place: u64,
    /// The `struct sockaddr` argument of connect(), as far as `sockaddr_in6` reaches; zeros if unreadable.
    pub addr: [u32; 7],
    /// Zero.
    pub reserved: u32,
    /// The tuple, once the attempt has failed.
    pub tuple: Tuple,
}

/// The task is in connect(), the socket is still in `CLOSE`.
pub const CONNECTING_ENTERED: u64 = 0;
/// The socket fell back to `CLOSE` inside connect(), without an error from the network.
pub const CONNECTING_FAILED: u64 = 2;
/// The task is in listen() instead.
pub const CALL_LISTEN: u64 = 3;
/// The socket fell from `LISTEN` back to `CLOSE` inside listen().
pub const CALL_LISTEN_FAILED: u64 = 4;

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
    /// The socket's own inode in [`RecordKind::BindFailed`], and in [`RecordKind::AcceptFailed`] if the listener is
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
    /// [`RecordKind::Listen`]: the backlog. Others: the socket's inode; 0 if it has none or
    /// the kernel side had no reason to look.
    pub detail: u64,
}

/// Failed accept() calls of one task on one listener with one errno, in at most one record per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct AcceptFailures {
    /// The next record; `detail` counts the failures that no record has yet.
    pub record: SocketRecord,
    /// Time of the last record.
    pub told_ns: u64,
}

impl AcceptFailures {
    /// None yet.
    pub const NONE: Self = Self {
        record: SocketRecord {
            header: Header {
                kind: RecordKind::AcceptFailed as u8,
                version: RECORD_VERSION,
                reserved: [0; 6],
                boot_ns: 0,
            },
            state: SocketState {
                id: 0,
                started_ns: 0,
                established_ns: 0,
                opener: Opener::NOBODY,
                role: 0,
                closed: 0,
                flags: 0,
                parent: 0,
            },
            tuple: Tuple {
                laddr: [0; 4],
                raddr: [0; 4],
                lport: 0,
                rport: 0,
                family: 0,
                reserved: [0; 3],
                netns: 0,
                ifindex: 0,
            },
            old: 0,
            new: 0,
            reserved: [0; 2],
            errno: 0,
            detail: 0,
        },
        told_ns: 0,
    };
}

/// The kernel's own counters of a connection at its end (`struct tcp_sock`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct TcpCounters {
    /// `tcp_sock.bytes_acked`, with SYN and FIN counted as one byte each, as the kernel does.
    pub bytes_acked: u64,
    /// `tcp_sock.bytes_received`, with FIN counted as one byte.
    pub bytes_received: u64,
    /// `tcp_sock.bytes_sent`: payload, retransmissions included.
    pub bytes_sent: u64,
    /// `tcp_sock.bytes_retrans`: retransmitted payload.
    pub bytes_retrans: u64,
    /// `tcp_sock.snd_nxt`.
    pub snd_nxt: u32,
    /// `tcp_sock.snd_una`.
    pub snd_una: u32,
    /// `tcp_sock.write_seq`.
    pub write_seq: u32,
    /// `tcp_sock.total_retrans`.
    pub total_retrans: u32,
    /// `tcp_sock.srtt_us`, eight times the smoothed round-trip time in µs.
    pub srtt_us: u32,
    /// `tcp_sock.rtt_min.s[0].v`, µs; `u32::MAX` before the first sample.
    pub min_rtt_us: u32,
    /// `sock.sk_err_soft`, positive.
    pub sk_err_soft: i32,
    /// `COUNTERS_*`.
    pub flags: u32,
}

/// [`TcpCounters`] holds the kernel's counters (their offsets are known on this kernel).
pub const COUNTERS_KNOWN: u32 = 1 << 0;
/// `SOCK_DONE` was set: the peer's FIN has arrived.
pub const COUNTERS_FIN_RECEIVED: u32 = 1 << 1;
/// `sk->sk_socket` was set: the socket belonged to a file at its end.
pub const COUNTERS_HAS_SOCKET: u32 = 1 << 2;
/// `sk->sk_socket` could be read: [`COUNTERS_HAS_SOCKET`] is meaningful.
pub const COUNTERS_SOCKET_KNOWN: u32 = 1 << 3;
/// `sk_err` could not be read: an `errno` of zero means nothing.
pub const COUNTERS_NO_ERRNO: u32 = 1 << 4;
/// `sk_lock.owned` of a socket in `SYN_SENT` could be read: [`COUNTERS_LOCKED`] is meaningful.
pub const COUNTERS_LOCK_KNOWN: u32 = 1 << 5;
/// A system call held the socket, and so caused its end.
pub const COUNTERS_LOCKED: u32 = 1 << 6;
/// The socket was in repair mode (`TCP_REPAIR`): its end sends nothing.
pub const COUNTERS_REPAIR: u32 = 1 << 8;

/// `detail` of a [`RecordKind::Listen`] whose backlog could not be read.
pub const BACKLOG_UNKNOWN: u64 = u64::MAX;

/// The end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct CloseRecord {
    /// As for every event; `errno` is `sk_err`.
    pub socket: SocketRecord,
    /// The kernel's counters.
    pub tcp: TcpCounters,
    /// A packed [`IcmpError`] if it was in `SYN_SENT`, else a [`Silence`].
    pub ending: [u64; 3],
}

impl CloseRecord {
    const fn was_connecting(&self) -> bool {
        self.socket.old == TcpState::SynSent as u8
    }

    /// Returns how long the connection had been quiet.
    #[must_use]
    pub const fn silence(&self) -> Silence {
        if self.was_connecting() { Silence::UNKNOWN } else { Silence::unpack(self.ending) }
    }

    /// Returns the ICMP error of a connect() without an answer.
    #[must_use]
    pub const fn icmp(&self) -> IcmpError {
        if self.was_connecting() { IcmpError::unpack(self.ending) } else { IcmpError::NONE }
    }
}

/// `sched_process_fork` of a new process (not of a thread).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ForkRecord {
    /// Common to all records.
    pub header: Header,
    /// The parent's process id.
    pub parent_pid: u32,
    /// The child's process id.
    pub pid: u32,
    /// Start of the parent, `CLOCK_BOOTTIME` ns.
    pub parent_start_ns: u64,
    /// Start of the child, `CLOCK_BOOTTIME` ns.
    pub start_ns: u64,
}

/// Bytes kept of the path in an [`ExecRecord`].
pub const EXEC_PATH: usize = 256;
/// Bytes kept of the arguments in an [`ExecRecord`].
pub const EXEC_ARGS: usize = 512;

/// `sched_process_exec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ExecRecord {
    /// Common to all records.
    pub header: Header,
    /// The process.
    pub pid: u32,
    /// Effective uid; [`UID_UNKNOWN`] if unreadable.
    pub uid: u32,
    /// Real uid.
    pub real_uid: u32,
    /// Zero.
    pub reserved: u32,
    /// Start of the process, `CLOCK_BOOTTIME` ns.
    pub start_ns: u64,
    /// `task->comm` after the exec.
    pub comm: [u8; 16],
    /// Bytes of `path` in use (without a trailing zero).
    pub path_len: u32,
    /// Bytes of `args` in use.
    pub args_len: u32,
    /// `linux_binprm.filename`: as given to execve, so it may be relative; cut at [`EXEC_PATH`].
    pub path: [u8; EXEC_PATH],
    /// The arguments, each ended by a zero; cut at [`EXEC_ARGS`].
    pub args: [u8; EXEC_ARGS],
}

/// `sched_process_exit` of a process's last (leading) thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ExitRecord {
    /// Common to all records.
    pub header: Header,
    /// The process.
    pub pid: u32,
    /// Zero.
    pub reserved: u32,
    /// Start of the process, `CLOCK_BOOTTIME` ns.
    pub start_ns: u64,
}

const _: () = {
    assert!(size_of::<Header>() == 16);
    assert!(size_of::<Opener>() == 64);
    assert!(size_of::<SocketState>() == 96);
    assert!(size_of::<Tuple>() == 48);
    assert!(size_of::<SocketRecord>() == 176);
    assert!(size_of::<TcpCounters>() == 64);
    assert!(size_of::<AcceptFailures>() == 184);
    assert!(size_of::<Connecting>() == 104);
    assert!(size_of::<CloseRecord>() == 264);
    assert!(size_of::<ForkRecord>() == 40);
    assert!(size_of::<ExecRecord>() == 64 + EXEC_PATH + EXEC_ARGS);
    assert!(size_of::<ExitRecord>() == 32);
    assert!(align_of::<ExecRecord>() == 8 && align_of::<CloseRecord>() == 8);
};
