//! Decimal digits and addresses, without the machinery of `core::fmt`: every event has a dozen of
//! them, and formatting was most of writing a line.

use std::net::Ipv4Addr;

/// "00" to "99".
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + n as u8 / 10, b'0' + n as u8 % 10];
        n += 1;
    }
    pairs
};

/// Appends `number`.
pub fn append(out: &mut Vec<u8>, mut number: u64) {
    // The longest there is, `u64::MAX`, has twenty digits.
    let mut digits = [0; 20];
    let mut begin = digits.len();
    while number >= 10 {
        begin -= 2;
        digits[begin..begin + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
        number /= 100;
    }
    if number > 0 || begin == digits.len() {
        begin -= 1;
        digits[begin] = b'0' + number as u8;
    }
    out.extend_from_slice(&digits[begin..]);
}

/// Appends `addr`.
pub fn append_ipv4(out: &mut Vec<u8>, addr: Ipv4Addr) {
    let [first, rest @ ..] = addr.octets();
    append(out, first.into());
    for byte in rest {
        out.push(b'.');
        append(out, byte.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_standard_library_writes_them() {
        let powers = (0..20).map(|n| 10_u64.pow(n));
        for number in powers.flat_map(|n| [n - 1, n, n + 1]).chain([u64::MAX, 12_345, 4_294_967_295]) {
            let mut out = Vec::new();
            append(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
        for addr in [Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST, Ipv4Addr::new(10, 20, 3, 104)] {
            let mut out = Vec::new();
            append_ipv4(&mut out, addr);
            assert_eq!(out, addr.to_string().as_bytes());
        }
    }
}
