//! The kernel side's records of packets: drops, resets and retransmissions.

use crate::{
    packet::Packet,
    record::{Header, Opener, Tuple},
};

/// Which way a dropped packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    /// Nothing shows the direction.
    Unknown = 0,
    /// It had arrived here, as far as known for this host.
    In = 1,
    /// A socket of this host had sent it.
    Out = 2,
    /// It had arrived here to be forwarded.
    Forward = 3,
}

impl Direction {
    /// Returns the direction with the number `n`.
    #[must_use]
    pub const fn from_number(n: u8) -> Self {
        match n {
            1 => Self::In,
            2 => Self::Out,
            3 => Self::Forward,
            _ => Self::Unknown,
        }
    }
}

/// The socket that a packet belonged to, as the kernel named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PacketSocket {
    /// Its addresses; all zeros unless [`SOCKET_TUPLE`].
    pub tuple: Tuple,
    /// Its opener, if the kernel side follows it.
    pub opener: Opener,
    /// The number of its connection (during the handshake, that of its listener); 0 if the kernel side
    /// does not follow it.
    pub id: u64,
    /// Inode of its file; 0 if it has none or is no full socket.
    pub inode: u64,
    /// `sk_protocol`; 0 if it is no full socket.
    pub protocol: u16,
    /// `FLAG_*` of [`crate::record`], if the kernel side follows it.
    pub followed: u16,
    /// `skc_family`; 0 for no socket.
    pub family: u16,
    /// `skc_state`.
    pub state: u8,
    /// `SOCKET_*`.
    pub flags: u8,
}

/// It is an IPv4 or IPv6 socket: `tuple` is valid.
pub const SOCKET_TUPLE: u8 = 1 << 0;
/// It is a `struct request_sock`; `id`, `opener` and `inode` are its listener's.
pub const SOCKET_REQUEST: u8 = 1 << 1;
/// It is a `struct inet_timewait_sock`.
pub const SOCKET_TIME_WAIT: u8 = 1 << 2;
/// The kernel handed it to the tracepoint as the receiving socket.
pub const SOCKET_RECEIVES: u8 = 1 << 3;

impl PacketSocket {
    /// No socket.
    pub const NONE: Self = Self {
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
        opener: Opener::NOBODY,
        id: 0,
        inode: 0,
        protocol: 0,
        followed: 0,
        family: 0,
        state: 0,
        flags: 0,
    };
}

/// One dropped packet, or a fold of several similar packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct DropRecord {
    /// Common to all records; the time is that of the last packet.
    pub header: Header,
    /// Number of the fold that this record sums up; 0 for a single packet.
    pub fold: u64,
    /// Time of the first packet, `CLOCK_BOOTTIME` ns.
    pub first_ns: u64,
    /// Number of packets.
    pub count: u64,
    /// Return address of the call that dropped it.
    pub location: u64,
    /// `enum skb_drop_reason` of the running kernel; [`NO_REASON`] if that kernel has none.
    pub reason: u32,
    /// Bytes from the network header on; `skb->len` if there is none.
    pub len: u32,
    /// `skb->dev->ifindex`; 0 for none.
    pub ifindex: u32,
    /// Inode number of the network namespace, of the device or else the socket; 0 for none.
    pub netns: u32,
    /// `skb->dev->name`, padded with zeros.
    pub iface: [u8; 16],
    /// Its headers; for several packets, those of the first.
    pub packet: Packet,
    /// A [`Direction`].
    pub direction: u8,
    /// `DROP_*`.
    pub flags: u8,
    /// Number of the kernel's stack in `STACKS`, plus one; 0 for none. For several packets, the stack
    /// of any one of them.
    pub stack: u16,
    /// The socket that it belonged to.
    pub socket: PacketSocket,
}

/// This kernel gives no reasons.
pub const NO_REASON: u32 = u32::MAX;

/// The folded packets have only reason and location in common.
pub const DROP_MIXED: u8 = 1 << 0;
/// The settings ask for the kernel's stack: a `stack` of 0 means that it could not be taken.
pub const DROP_STACK: u8 = 1 << 1;

/// Maximum of different kernel stacks kept, each in a place that its hash chooses. A number has to fit
/// into [`DropRecord::stack`].
pub const STACKS: u32 = 8192;
/// Frames kept of a stack, those next to the drop: a segment from connect() over the loopback device
/// into the receiving side takes about forty.
pub const STACK_FRAMES: u32 = 64;

/// A place in the kernel side's `FOLDS` that counts similar drops.
///
/// The agent reads it while a CPU may write. The CPU writes `end` first and `begin` last, so the fields
/// between them are whole if the two are equal.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Fold {
    /// The number of the fold; 0 for an empty place.
    pub begin: u64,
    /// Hash of the packets' common properties.
    pub hash: u64,
    /// Time of the first packet.
    pub since_ns: u64,
    /// Packets with a record of their own since then.
    pub told: u64,
    /// Packets counted only here.
    pub count: u64,
    /// Time of the last of them.
    pub last_ns: u64,
    /// The last record sent.
    pub record: DropRecord,
    /// As `begin`.
    pub end: u64,
}

/// Maximum of drops of one kind with a record of their own per second; a fold counts the others.
pub const TOLD_OF_A_KIND: u64 = 8;

/// Places for drops of one flow each.
pub const FLOW_FOLDS: u32 = 512;
/// Places for drops folded by reason and location only, because there are too many flows.
pub const MIXED_FOLDS: u32 = 32;
/// All places of one CPU.
pub const FOLDS: u32 = FLOW_FOLDS + MIXED_FOLDS;

/// The part of a [`Fold`] that the search of a place needs; all zeros for a place that was never used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    /// See there.
    pub begin: u64,
    /// See there.
    pub hash: u64,
    /// See there.
    pub last_ns: u64,
}

/// No place.
pub const NO_PLACE: u32 = u32::MAX;

/// Returns the place of `FOLDS` that counts drops of one reason and location when there are too many to report
/// singly, or [`NO_PLACE`]. `look` returns the content of a place.
///
/// The first place that the hash names may be another kind's: then the search goes on with the next places. A kind
/// never stands behind a place that was never used, because it would have taken that place.
///
/// No `Option`: LLVM may read the uninitialized value beside `None`, which the verifier refuses ("R6 !read_ok").
#[inline(always)]
pub fn mixed_place(hash: u64, at: u64, mut look: impl FnMut(u32) -> Held) -> u32 {
    let mut free = NO_PLACE;
    let mut n = 0;
    while n < MIXED_FOLDS {
        let place = FLOW_FOLDS + (hash as u32).wrapping_add(n) % MIXED_FOLDS;
        let held = look(place);
        if held.begin == 0 {
            return if free == NO_PLACE { place } else { free };
        }
        if held.hash == hash {
            return place;
        }
        if free == NO_PLACE && at.wrapping_sub(held.last_ns) >= QUIET_NS {
            free = place;
        }
        n += 1;
    }
    free
}

/// A kind of drops that has been quiet this long gives its place to another.
pub const QUIET_NS: u64 = 1_000_000_000;

/// The drops that all CPUs together have drawn from the limit of single records per tenth of a second.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Budget {
    /// The tenth of a second, counted from boot.
    pub tenth: u64,
    /// Drops that the CPUs have drawn in it.
    pub drawn: u64,
}

/// The handling of drops by one reason: a value in `REASONS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReasonAction {
    /// The same handling as unlisted reasons.
    Rest = 0,
    /// The drops are wanted.
    Keep = 1,
    /// A filter leaves them out.
    LeaveOut = 2,
    /// The same except for ICMP errors, which say why another packet was not delivered.
    LeaveOutButErrors = 3,
    /// It leaves out only remains: TCP segments without a socket that are no request for a connection.
    LeaveOutRemains = 4,
}

/// Reasons of the kernel itself with a place of their own in `REASONS`,
const CORE_REASONS: u32 = 1024;
/// and reasons of each subsystem (the high sixteen bits).
const SUBSYSTEM_REASONS: u32 = 256;
const SUBSYSTEMS: u32 = 16;
/// Places in `REASONS`.
pub const REASON_PLACES: u32 = CORE_REASONS + SUBSYSTEMS * SUBSYSTEM_REASONS;

/// Returns the place of a reason in `REASONS`; [`REASON_PLACES`] if it has none.
#[inline(always)]
#[must_use]
pub const fn reason_place(reason: u32) -> u32 {
    let (subsystem, number) = (reason >> 16, reason & 0xffff);
    if subsystem == 0 {
        if number < CORE_REASONS { number } else { REASON_PLACES }
    } else if subsystem <= SUBSYSTEMS && number < SUBSYSTEM_REASONS {
        CORE_REASONS + (subsystem - 1) * SUBSYSTEM_REASONS + number
    } else {
        REASON_PLACES
    }
}

/// A retransmitted segment, or a segment that resets a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SegmentRecord {
    /// Common to all records.
    pub header: Header,
    /// As [`PacketSocket::id`].
    pub id: u64,
    /// As [`PacketSocket::inode`].
    pub inode: u64,
    /// Addresses, local and remote.
    pub tuple: Tuple,
    /// TCP sequence number.
    pub seq: u32,
    /// `enum sk_rst_reason` of the running kernel, for a sent reset; [`NO_REASON`] else.
    pub reason: u32,
    /// State of the socket; 0 if there was none.
    pub state: u8,
    /// `TCP_*` flags of the segment.
    pub tcp_flags: u8,
    /// `SEGMENT_*`.
    pub flags: u8,
    /// `SOCKET_*`.
    pub socket_flags: u8,
    /// `FLAG_*` of [`crate::record`], if the kernel side follows the socket.
    pub followed: u16,
    /// Zero.
    pub reserved: [u8; 2],
}

/// The reset was received, not sent.
pub const SEGMENT_RECEIVED: u8 = 1 << 0;
/// It carries data.
pub const SEGMENT_DATA: u8 = 1 << 1;
/// A tail loss probe (RFC 8985): the kernel does not take anything for lost yet.
pub const SEGMENT_PROBE: u8 = 1 << 2;
/// `seq` is known.
pub const SEGMENT_SEQ: u8 = 1 << 3;

/// FIN.
pub const TCP_FIN: u8 = 1 << 0;
/// SYN.
pub const TCP_SYN: u8 = 1 << 1;
/// RST.
pub const TCP_RST: u8 = 1 << 2;
/// ACK.
pub const TCP_ACK: u8 = 1 << 4;

const _: () = {
    assert!(size_of::<PacketSocket>() == 136);
    assert!(size_of::<DropRecord>() == 312);
    assert!(size_of::<Fold>() == 368);
    assert!(size_of::<Budget>() == 16);
    assert!(size_of::<SegmentRecord>() == 96);
    assert!(STACKS < u16::MAX as u32);
    assert!(align_of::<DropRecord>() == 8 && align_of::<SegmentRecord>() == 8);
};

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// The places of one CPU, as the kernel side uses them: a kind's hash, the time of its last drop, its count.
    struct Places(Vec<Option<(u64, u64, u64)>>);

    impl Places {
        fn new() -> Self {
            Self(std::vec![None; MIXED_FOLDS as usize])
        }

        /// Counts one drop of the kind; returns whether there was a place.
        fn drop_one(&mut self, hash: u64, at: u64) -> bool {
            let index = |place: u32| (place - FLOW_FOLDS) as usize;
            let place = mixed_place(hash, at, |place| {
                self.0[index(place)].map_or(Held::default(), |(hash, last_ns, _)| Held { begin: 1, hash, last_ns })
            });
            if place == NO_PLACE {
                return false;
            }
            let count = match self.0[index(place)] {
                Some((held, _, count)) if held == hash => count,
                _ => 0,
            };
            self.0[index(place)] = Some((hash, at, count + 1));
            true
        }

        fn count(&self, hash: u64) -> u64 {
            self.0.iter().flatten().filter(|(held, ..)| *held == hash).map(|(.., count)| count).sum()
        }
    }

    #[test]
    fn two_kinds_that_fall_into_one_place_are_both_counted() {
        let mut places = Places::new();
        let kinds = [5, 5 + u64::from(MIXED_FOLDS), 6];
        for n in 0..300 {
            for kind in kinds {
                assert!(places.drop_one(kind, 10 * SECOND + n), "there is room");
            }
        }
        assert_eq!(kinds.map(|kind| places.count(kind)), [300; 3]);
    }

    #[test]
    fn as_many_kinds_as_places_have_room_whatever_their_hashes() {
        let mut places = Places::new();
        for n in 0..10 {
            for kind in 0..u64::from(MIXED_FOLDS) {
                assert!(places.drop_one(kind * 64, SECOND + n));
            }
        }
        assert!((0..u64::from(MIXED_FOLDS)).all(|kind| places.count(kind * 64) == 10));
        // Another kind has no place until one of them is quiet.
        assert!(!places.drop_one(99, SECOND + 10));
        assert!(places.drop_one(99, 2 * SECOND + 10));
        // A kind that comes back finds the places of others taken, and its own again.
        assert!(places.drop_one(0, 2 * SECOND + 11) && places.drop_one(64, 2 * SECOND + 11));
    }

    #[test]
    fn reasons_have_places_of_their_own() {
        let reasons = [0, 1, 130, 1023, 0x1_0000, 0x1_00ff, 0x2_0007, 0x3_0007, 0x10_00ff];
        let mut places: Vec<u32> = reasons.iter().map(|reason| reason_place(*reason)).collect();
        assert!(places.iter().all(|place| *place < REASON_PLACES), "{places:?}");
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), reasons.len());
        for reason in [1024, 0xffff, 0x1_0100, 0x11_0000, NO_REASON] {
            assert_eq!(reason_place(reason), REASON_PLACES, "{reason:#x}");
        }
    }
}
