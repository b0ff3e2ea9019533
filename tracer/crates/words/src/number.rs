//! Writes decimal numbers and addresses without `core::fmt`: every event has a dozen of them, and
//! formatting was most of writing a line.

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
    if number < 100_000_000 {
        return append_short(out, number);
    }
    // `u64::MAX` has 20 digits.
    let mut digits = [0; 20];
    let mut begin = digits.len();
    while number >= 10 {
        begin -= 2;
        digits[begin..begin + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
        number /= 100;
    }
    if number > 0 {
        begin -= 1;
        digits[begin] = b'0' + number as u8;
    }
    out.extend_from_slice(&digits[begin..]);
}

/// Appends 8 digits as one word: copying a variable number of bytes would be a call.
fn append_short(out: &mut Vec<u8>, number: u64) {
    let pair = |n: u64| u64::from(u16::from_be_bytes(PAIRS[(n % 100) as usize]));
    let digits = pair(number / 1_000_000) << 48 | pair(number / 10_000) << 32 | pair(number / 100) << 16 | pair(number);
    // Without the bits that all digits share, the high bytes are zero only for leading zeros.
    let zeros = ((digits ^ 0x3030_3030_3030_3030) | 1).leading_zeros() / 8;
    let end = out.len() + 8 - zeros as usize;
    out.extend_from_slice(&(digits << (zeros * 8)).to_be_bytes());
    out.truncate(end);
}

/// The text of each byte of an address with a dot behind it, and its length.
const OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([b'.'; 4], 0); 256];
    let mut n = 0;
    while n < 256 {
        let (digits, text) = (
            if n < 10 {
                1
            } else if n < 100 {
                2
            } else {
                3
            },
            &mut octets[n].0,
        );
        text[digits - 1] = b'0' + (n % 10) as u8;
        if digits > 1 {
            text[digits - 2] = b'0' + (n / 10 % 10) as u8;
        }
        if digits > 2 {
            text[0] = b'0' + (n / 100) as u8;
        }
        octets[n].1 = digits as u8 + 1;
        n += 1;
    }
    octets
};

/// Appends `addr`.
pub fn append_ipv4(out: &mut Vec<u8>, addr: Ipv4Addr) {
    let mut text = [0; 16];
    let mut used = 0;
    for octet in addr.octets() {
        let (octet, length) = OCTETS[usize::from(octet)];
        // Copies 4 bytes; the next octet overwrites the surplus.
        text[used..used + 4].copy_from_slice(&octet);
        used += usize::from(length);
    }
    let end = out.len() + used - 1;
    out.extend_from_slice(&text);
    out.truncate(end);
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
