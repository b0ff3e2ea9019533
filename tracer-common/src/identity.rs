//! The layout of a connection's number.
//!
//! Low bits tell the origin: the place in the kernel side that gave it, or that it is made from the address of a socket
//! which the kernel side does not remember.

/// Bits for the origin.
pub const PLACE_BITS: u32 = 6;

/// Bits for the CPU, above them. The rest is a counter of that place on that CPU.
pub const CPU_BITS: u32 = 12;

/// The origin of a number that is made from an address: no place has it.
pub const OF_SOCKET: u64 = (1 << PLACE_BITS) - 1;

/// The number made from the address of a `struct sock`. The dropped bits of a kernel address are all ones; the agent
/// keeps the two highest bits for itself.
#[must_use]
#[inline(always)]
pub const fn of_address(sk: u64) -> u64 {
    (sk << PLACE_BITS | OF_SOCKET) & (u64::MAX >> 2)
}

/// Whether a number is made from an address, which another socket may have later.
#[must_use]
pub const fn is_of_address(id: u64) -> bool {
    id & OF_SOCKET == OF_SOCKET
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_made_from_an_address_is_one() {
        assert!(is_of_address(of_address(0xffff_8880_1234_5640)));
        // Every place, also one whose number ends in ones, on the last CPU.
        for place in 0..OF_SOCKET {
            assert!(!is_of_address(1 << (PLACE_BITS + CPU_BITS) | 0xfff << PLACE_BITS | place), "{place}");
        }
    }

    #[test]
    fn sockets_side_by_side_have_different_numbers() {
        let first = 0xffff_8880_1234_5640;
        assert_ne!(of_address(first), of_address(first + 64));
        assert_eq!(of_address(first) >> 62, 0);
    }
}
