//! What the BPF iterators of `tracer sockets` write: whole records, one after another. Those of
//! `iter/task` are words: 0 and a process, then the inodes of its sockets; 0 and 0 after what is not
//! certain, because the process's table changed meanwhile.

/// `iter/task_file`: a process holds a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct HolderRecord {
    /// The socket's inode.
    pub inode: u64,
    /// The process, also where only one of its threads holds it.
    pub pid: u32,
    /// Zero.
    pub reserved: u32,
}

/// `iter/tcp`: a TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct TcpRecord {
    /// Local address: words as they lie in memory, IPv4 in the first one.
    pub laddr: [u32; 4],
    /// Remote address.
    pub raddr: [u32; 4],
    /// Inode of the socket's file; 0 if it has none.
    pub inode: u64,
    /// The device that it is bound to; 0 for none.
    pub ifindex: u32,
    /// The user that made it.
    pub uid: u32,
    /// As sock_diag's `idiag_rqueue`.
    pub recv_q: u32,
    /// As sock_diag's `idiag_wqueue`.
    pub send_q: u32,
    /// Local port.
    pub lport: u16,
    /// Remote port.
    pub rport: u16,
    /// 4 or 6.
    pub family: u8,
    /// The state's number; `tw_substate` where that is what is left.
    pub state: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

const _: () = assert!(size_of::<HolderRecord>() == 16);
const _: () = assert!(size_of::<TcpRecord>() == 64);

/// A number at a place in a record, which has it.
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

impl TcpRecord {
    /// The record in `bytes`.
    #[must_use]
    pub fn decode(bytes: &[u8; size_of::<Self>()]) -> Self {
        let word = |place| u32::from_ne_bytes(at(bytes, place));
        Self {
            laddr: [word(0), word(4), word(8), word(12)],
            raddr: [word(16), word(20), word(24), word(28)],
            inode: u64::from_ne_bytes(at(bytes, 32)),
            ifindex: word(40),
            uid: word(44),
            recv_q: word(48),
            send_q: word(52),
            lport: u16::from_ne_bytes(at(bytes, 56)),
            rport: u16::from_ne_bytes(at(bytes, 58)),
            family: bytes[60],
            state: bytes[61],
            reserved: [0; 2],
        }
    }
}
