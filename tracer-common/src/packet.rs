//! Packet headers: one parser for the BPF programs and for the host.
//!
//! It reads a fixed window of 32-bit words that starts at the network header. Every header that it
//! follows begins at a multiple of four bytes from there (RFC 791, RFC 8200, IEEE 802.1Q), so that each
//! load is one aligned word. Every index is masked to the window and the window is larger than the
//! mask: the verifier sees a constant bound, and nothing here can panic.

mod network;
mod transport;

pub use self::network::{ETH_P_IP, ETH_P_IPV6};

/// Maximum of bytes copied from a packet.
pub const WINDOW_BYTES: usize = 160;
/// Mask of an index into the window.
const MASK: u32 = 63;
/// Bound of an addition to an index: the length of the longest fixed header, in words.
const REACH: usize = 16;
/// Words in a [`Window`].
pub const WINDOW_WORDS: usize = MASK as usize + 1 + REACH;

/// The first bytes of a packet, from its network header on, as they are in memory.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Window {
    /// Big-endian words. Only the first [`WINDOW_BYTES`] bytes are ever filled.
    pub words: [u32; WINDOW_WORDS],
    /// The parser's last position; see [`Window::go_to`].
    position: u32,
}

impl Window {
    /// All zeros.
    pub const EMPTY: Self = Self { words: [0; WINDOW_WORDS], position: 0 };

    /// Returns the word `add` words behind word `at`, in host order. `add` is below [`REACH`].
    #[inline(always)]
    fn word(&self, at: u32, add: usize) -> u32 {
        u32::from_be(self.raw(at, add))
    }

    /// Returns the same word in network order, the order of addresses.
    #[inline(always)]
    fn raw(&self, at: u32, add: usize) -> u32 {
        self.words[(at & MASK) as usize + (add & (REACH - 1))]
    }

    /// Returns `at` after a store and a load. An index that another path through the headers has counted
    /// up is another state to the verifier, which then verifies all that follows again (51,000
    /// instructions, a third of the time that a trace takes to start); a loaded number is like any other.
    #[inline(always)]
    fn go_to(&mut self, at: u32) -> u32 {
        let position = &raw mut self.position;
        // SAFETY: our own field.
        unsafe {
            core::ptr::write_volatile(position, at);
            core::ptr::read_volatile(position)
        }
    }

    /// Fills the window from `bytes`; returns the number of bytes taken.
    pub fn fill(&mut self, bytes: &[u8]) -> u32 {
        let bytes = bytes.get(..WINDOW_BYTES).unwrap_or(bytes);
        for (word, chunk) in self.words.iter_mut().zip(bytes.chunks(4)) {
            let mut whole = [0; 4];
            for (to, from) in whole.iter_mut().zip(chunk) {
                *to = *from;
            }
            *word = u32::from_ne_bytes(whole);
        }
        bytes.len() as u32
    }
}

/// The addresses of one packet or one quoted packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Flow {
    /// Source address, network order; IPv4 in the first word.
    pub src: [u32; 4],
    /// Destination address.
    pub dst: [u32; 4],
    /// Source port, host order; 0 unless [`HAS_PORTS`].
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// 4, 6, or 0: no IP packet.
    pub family: u8,
    /// The protocol that IP carries (IANA's numbers), behind the extension headers of IPv6.
    pub protocol: u8,
    /// `HAS_PORTS`, `FRAGMENT`, `LATER_FRAGMENT`, `TRUNCATED`.
    pub flags: u8,
    /// Zero.
    pub reserved: u8,
}

/// The flow has ports.
pub const HAS_PORTS: u8 = 1 << 0;
/// A fragment of a larger packet.
pub const FRAGMENT: u8 = 1 << 1;
/// Not the first fragment: it has no transport header.
pub const LATER_FRAGMENT: u8 = 1 << 2;
/// The headers end too early (short packet, or more extension headers than the parser follows).
pub const TRUNCATED: u8 = 1 << 3;

/// The content of a packet's headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Packet {
    /// Addresses, ports, protocol.
    pub flow: Flow,
    /// TCP sequence number.
    pub seq: u32,
    /// TCP flags: the thirteenth byte of the TCP header.
    pub tcp_flags: u8,
    /// Of ICMP and ICMPv6.
    pub icmp_type: u8,
    /// Of ICMP and ICMPv6.
    pub icmp_code: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// The outermost VLAN tag in the packet (not a tag that the device took off); 0 for none.
    pub vlan: u16,
    /// The protocol behind the tags, host order: `ETH_P_*`.
    pub ethertype: u16,
    /// The packet that an ICMP error quotes; family 0 if there is none.
    pub inner: Flow,
}

/// Parses a packet of `ethertype` (host order); the window has its first `have` bytes.
#[inline(always)]
pub fn parse(window: &mut Window, have: u32, ethertype: u16, packet: &mut Packet) {
    *packet = Packet::default();
    let at = network::tags(window, have, ethertype, packet);
    if let Some(behind) = network::outer(window, have, at, packet) {
        transport::parse(window, have, behind, packet);
    }
}

/// Parses the TCP header at the start of the window (of a packet that has no other headers yet).
#[inline(always)]
pub fn parse_tcp(window: &mut Window, have: u32, packet: &mut Packet) {
    *packet = Packet::default();
    packet.flow.protocol = transport::TCP;
    transport::parse(window, have, 0, packet);
}

/// Whether the window has `need` bytes at word `at`.
#[inline(always)]
fn has(have: u32, at: u32, need: u32) -> bool {
    at * 4 + need <= have
}

const _: () = {
    assert!(WINDOW_BYTES <= MASK as usize * 4);
    assert!(size_of::<Flow>() == 40);
    assert!(size_of::<Packet>() == 92);
};

#[cfg(test)]
mod tests;
