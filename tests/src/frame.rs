//! Handmade Ethernet frames, right and wrong, and a socket that sends them as they are.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use crate::errno;
use crate::netns::Netns;

/// The ethertypes of IPv4 and IPv6.
pub const IPV4: u16 = 0x0800;
/// See [`IPV4`].
pub const IPV6: u16 = 0x86dd;

/// A packet socket on one device.
#[derive(Debug)]
pub struct Frames {
    socket: OwnedFd,
    /// Destination and source.
    addresses: [u8; 12],
}

fn hardware(netns: &Netns, device: &str) -> [u8; 6] {
    let text = netns.run(&["cat", &format!("/sys/class/net/{device}/address")]);
    let mut address = [0; 6];
    for (to, from) in address.iter_mut().zip(text.trim().split(':')) {
        *to = u8::from_str_radix(from, 16).expect("an address is hexadecimal");
    }
    address
}

impl Frames {
    /// A socket that sends by `device` in `from` to the same device in `to`.
    ///
    /// # Panics
    /// If it cannot be opened (not root).
    #[must_use]
    pub fn open(from: &Netns, to: &Netns, device: &str) -> Self {
        let mut addresses = [0; 12];
        addresses[..6].copy_from_slice(&hardware(to, device));
        addresses[6..].copy_from_slice(&hardware(from, device));
        let index = from.ifindex(device) as libc::c_int;
        let socket = from.within(|| {
            // SAFETY: takes no pointers. Protocol 0: it receives nothing.
            let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
            assert!(fd >= 0, "a packet socket: {}", errno::name(errno::last()));
            // SAFETY: the descriptor was just made and has no other owner.
            unsafe { OwnedFd::from_raw_fd(fd) }
        });
        // SAFETY: all zeros is a valid sockaddr_ll.
        let mut at: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        (at.sll_family, at.sll_ifindex) = (libc::AF_PACKET as u16, index);
        let len = size_of_val(&at) as libc::socklen_t;
        // SAFETY: the pointer and length are those of a live value.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const at).cast(), len) };
        assert_eq!(bound, 0, "a packet socket is bound: {}", errno::name(errno::last()));
        Self { socket, addresses }
    }

    /// Sends a frame. Returns whether it went out: the kernel may find it too short.
    pub fn send(&self, ethertype: u16, packet: &[u8]) -> bool {
        let frame = [&self.addresses[..], &ethertype.to_be_bytes(), packet].concat();
        // SAFETY: the pointer and length describe `frame`.
        let sent = unsafe { libc::send(self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        sent == frame.len() as isize
    }
}

/// An IPv4 header (RFC 791) from 10.7.0.1 to 10.7.0.2 with `options` (whole words), and its payload.
#[must_use]
pub fn ipv4(protocol: u8, fragment: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let words = 5 + options.len() / 4;
    let mut packet = vec![0x40 | words as u8, 0];
    packet.extend(((words * 4 + payload.len()) as u16).to_be_bytes());
    packet.extend([0, 7]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 10, 7, 0, 1, 10, 7, 0, 2]);
    packet.extend(options);
    let mut sum: u32 = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    packet.extend(payload);
    packet
}

/// An IPv6 header (RFC 8200) from fd07::1 to fd07::2, and its payload.
#[must_use]
pub fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    for last in [1, 2] {
        packet.extend([0xfd, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    packet.extend(payload);
    packet
}

/// A TCP header (RFC 9293) without options: a SYN.
#[must_use]
pub fn tcp(sport: u16, dport: u16) -> Vec<u8> {
    let mut header = [sport.to_be_bytes(), dport.to_be_bytes()].concat();
    header.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0]);
    header
}

/// An extension header of IPv6 (`units` of eight bytes beyond the first), filled with padding options.
#[must_use]
pub fn extension(next: u8, units: u8) -> Vec<u8> {
    let mut header = vec![next, units];
    header.resize(8 + 8 * usize::from(units), 0);
    header
}
