//! Handmade TCP segments, and helpers for those that are only just wrong.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use crate::errno;
use crate::netns::Netns;
use crate::traffic::sys;

/// SYN.
pub const SYN: u8 = 1 << 1;
/// RST.
pub const RST: u8 = 1 << 2;
/// ACK.
pub const ACK: u8 = 1 << 4;

/// A segment without data or options.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Source.
    pub from: SocketAddr,
    /// Destination.
    pub to: SocketAddr,
    /// Flags.
    pub flags: u8,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// The deviation from the right checksum.
    pub checksum_off_by: u16,
}

impl Segment {
    /// A segment without flags.
    #[must_use]
    pub const fn between(from: SocketAddr, to: SocketAddr) -> Self {
        Self { from, to, flags: 0, seq: 0, ack: 0, checksum_off_by: 0 }
    }

    /// The segment with its IP header (RFC 791, RFC 8200, RFC 9293).
    ///
    /// # Panics
    /// If the two ends are of different families.
    #[must_use]
    fn packet(&self) -> Vec<u8> {
        let mut tcp = [0_u8; 20];
        tcp[0..2].copy_from_slice(&self.from.port().to_be_bytes());
        tcp[2..4].copy_from_slice(&self.to.port().to_be_bytes());
        tcp[4..8].copy_from_slice(&self.seq.to_be_bytes());
        tcp[8..12].copy_from_slice(&self.ack.to_be_bytes());
        tcp[12] = 0x50;
        tcp[13] = self.flags;
        tcp[14..16].copy_from_slice(&1024_u16.to_be_bytes());
        let (mut packet, addresses) = match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let addresses = [from.octets(), to.octets()].concat();
                let mut header = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, libc::IPPROTO_TCP as u8, 0, 0];
                header.extend_from_slice(&addresses);
                (header, addresses)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let addresses = [from.octets(), to.octets()].concat();
                let mut header = vec![0x60, 0, 0, 0, 0, 20, libc::IPPROTO_TCP as u8, 64];
                header.extend_from_slice(&addresses);
                (header, addresses)
            }
            _ => panic!("{self:?} is of two families"),
        };
        let words = addresses.chunks(2).chain(tcp.chunks(2));
        let mut sum: u32 = words.map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        sum += libc::IPPROTO_TCP as u32 + tcp.len() as u32;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let checksum = (!(sum as u16)).wrapping_add(self.checksum_off_by);
        tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
        packet.extend_from_slice(&tcp);
        packet
    }
}

/// A raw socket that takes whole packets.
#[derive(Debug)]
pub struct RawIp(OwnedFd);

impl RawIp {
    /// Opens one in `netns`.
    ///
    /// # Panics
    /// If it is refused (not root).
    #[must_use]
    pub fn open(netns: &Netns, v6: bool) -> Self {
        let family = if v6 { libc::AF_INET6 } else { libc::AF_INET };
        // SAFETY: takes no pointers.
        let fd =
            netns.within(|| unsafe { libc::socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_RAW) });
        assert!(fd >= 0, "a raw socket: {}", errno::name(errno::last()));
        // SAFETY: the descriptor was just made and has no other owner.
        Self(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Sends a segment.
    ///
    /// # Panics
    /// If it is not sent.
    pub fn send(&self, segment: &Segment) {
        let packet = segment.packet();
        // The port of a raw address is a protocol.
        let (to, len) = sys::to_kernel(&SocketAddr::new(segment.to.ip(), 0));
        let (data, to) = (packet.as_ptr().cast(), (&raw const to).cast());
        // SAFETY: the pointers and lengths are those of live values.
        let sent = unsafe { libc::sendto(self.0.as_raw_fd(), data, packet.len(), 0, to, len) };
        assert_eq!(sent, packet.len() as isize, "{segment:?}: {}", errno::name(errno::last()));
    }
}

/// `TCP_REPAIR_OFF_NO_WP`, `TCP_REPAIR_ON` and `TCP_RECV_QUEUE` of `include/uapi/linux/tcp.h`.
const REPAIR_OFF: libc::c_int = -1;
const REPAIR_ON: libc::c_int = 1;
const RECEIVE_QUEUE: libc::c_int = 1;

/// The next sequence number that a connection expects.
///
/// # Panics
/// If the kernel gives no answer (no `CAP_NET_ADMIN`).
#[must_use]
pub fn next_to_receive(stream: &TcpStream) -> u32 {
    let fd = stream.as_raw_fd();
    let set = |name, value| sys::set_option(fd, libc::IPPROTO_TCP, name, value).expect("the socket is under repair");
    set(libc::TCP_REPAIR, REPAIR_ON);
    set(libc::TCP_REPAIR_QUEUE, RECEIVE_QUEUE);
    let mut next = 0_u32;
    let mut len = size_of::<u32>() as libc::socklen_t;
    // SAFETY: the option is four bytes, as `next` has.
    let got =
        unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_QUEUE_SEQ, (&raw mut next).cast(), &raw mut len) };
    assert_eq!(got, 0, "TCP_QUEUE_SEQ: {}", errno::name(errno::last()));
    set(libc::TCP_REPAIR, REPAIR_OFF);
    next
}
