//! Output of the BPF iterators of `tracer sockets`: whole records, one after another. `iter/task`
//! writes words: 0 and a process, then the inodes of its sockets. 0 and 0 mark the inodes before them
//! as uncertain, because the process's table changed meanwhile.

/// `iter/task_file`: a process holds a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct HolderRecord {
    /// The socket's inode.
    pub inode: u64,
    /// The process, even if only one of its threads holds the socket.
    pub pid: u32,
    /// Zero.
    pub reserved: u32,
}

/// A TCP connection in the kernel's table, its fields as they lie there. All zeros mean that the table changed
/// meanwhile, so the output is not certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ConnectionRecord {
    /// Inode of the socket's file; 0 if it has none.
    pub inode: u64,
    /// The first and the last eight bytes of the local IPv6 address.
    pub laddr_v6: [u64; 2],
    /// The same of the remote IPv6 address.
    pub raddr_v6: [u64; 2],
    /// Local IPv4 address.
    pub laddr: u32,
    /// Remote IPv4 address.
    pub raddr: u32,
    /// The device that it is bound to; 0 for none.
    pub ifindex: u32,
    /// The user that made it.
    pub uid: u32,
    /// The next byte to receive.
    pub rcv_nxt: u32,
    /// The next byte to read.
    pub copied_seq: u32,
    /// The end of the written data.
    pub write_seq: u32,
    /// The first unacknowledged byte.
    pub snd_una: u32,
    /// Inode of the network namespace.
    pub netns: u32,
    /// Remote port, in the order of the network.
    pub rport: u16,
    /// Local port.
    pub lport: u16,
    /// `AF_INET` or `AF_INET6`.
    pub family: u8,
    /// The state's number; [`CHANGED`] is no state.
    pub state: u8,
    /// `tw_substate`: the number of the state in which a timewait socket waits.
    pub substate: u8,
    /// Not 0: the table belongs to one namespace alone (`inet_hashinfo.pernet`).
    pub alone: u8,
    /// Zero.
    pub reserved: u32,
}

/// In place of a state: the table changed.
pub const CHANGED: u8 = 0;
/// `TCP_TIME_WAIT`
pub const TIME_WAIT: u8 = 6;
/// `TCP_NEW_SYN_RECV`
pub const NEW_SYN_RECV: u8 = 12;
/// Stands for the number of `bpf_rdonly_cast` where a program calls it: that number differs from kernel to kernel.
pub const RDONLY_CAST: i32 = 0x7fff_fff0;

/// Settings of the program that reads the table of connections, beside [`crate::settings::Offsets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Connections {
    /// Parts in which the program reads the table: the number of elements of the map that it iterates over.
    pub parts: u32,
    /// `task_struct.nsproxy`
    pub task_nsproxy: u32,
    /// `nsproxy.net_ns`
    pub nsproxy_net_ns: u32,
    /// `net.ipv4.tcp_death_row.hashinfo`
    pub net_hashinfo: u32,
    /// `inet_hashinfo.ehash`
    pub hashinfo_ehash: u32,
    /// `inet_hashinfo.ehash_mask`
    pub hashinfo_ehash_mask: u32,
    /// `inet_hashinfo.pernet`
    pub hashinfo_pernet: u32,
    /// `sock_common.skc_hash`
    pub skc_hash: u32,
    /// `sock_common.skc_nulls_node`
    pub skc_nulls_node: u32,
    /// `sock_common.skc_refcnt`
    pub skc_refcnt: u32,
    /// `sock.sk_uid`
    pub sk_uid: u32,
}

impl Connections {
    /// Nothing is known.
    pub const NONE: Self = Self {
        parts: 0,
        task_nsproxy: 0,
        nsproxy_net_ns: 0,
        net_hashinfo: 0,
        hashinfo_ehash: 0,
        hashinfo_ehash_mask: 0,
        hashinfo_pernet: 0,
        skc_hash: 0,
        skc_nulls_node: 0,
        skc_refcnt: 0,
        sk_uid: 0,
    };
}

const _: () = assert!(size_of::<HolderRecord>() == 16);
const _: () = assert!(size_of::<ConnectionRecord>() == 88);
const _: () = assert!(size_of::<Connections>() == 44);

/// Returns the bytes of the number at a place in a record; zeros if the record is too short.
fn at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut value = [0; N];
    if let Some(found) = bytes.get(at..at + N) {
        value.copy_from_slice(found);
    }
    value
}

impl HolderRecord {
    /// The record in `bytes`.
    #[must_use]
    pub fn decode(bytes: &[u8; size_of::<Self>()]) -> Self {
        Self { inode: u64::from_ne_bytes(at(bytes, 0)), pid: u32::from_ne_bytes(at(bytes, 8)), reserved: 0 }
    }
}

impl ConnectionRecord {
    /// The record in `bytes`.
    #[must_use]
    pub fn decode(bytes: &[u8; size_of::<Self>()]) -> Self {
        let word = |place| u32::from_ne_bytes(at(bytes, place));
        let double = |place| u64::from_ne_bytes(at(bytes, place));
        Self {
            inode: double(0),
            laddr_v6: [double(8), double(16)],
            raddr_v6: [double(24), double(32)],
            laddr: word(40),
            raddr: word(44),
            ifindex: word(48),
            uid: word(52),
            rcv_nxt: word(56),
            copied_seq: word(60),
            write_seq: word(64),
            snd_una: word(68),
            netns: word(72),
            rport: u16::from_ne_bytes(at(bytes, 76)),
            lport: u16::from_ne_bytes(at(bytes, 78)),
            family: bytes[80],
            state: bytes[81],
            substate: bytes[82],
            alone: bytes[83],
            reserved: 0,
        }
    }
}
