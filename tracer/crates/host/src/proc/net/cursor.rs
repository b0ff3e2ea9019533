//! The fields of a line of /proc/net, taken from its front one by one.

/// Each byte's value as a hexadecimal digit; 255 for other bytes.
const HEX: [u8; 256] = {
    let mut table = [u8::MAX; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        table[b"0123456789abcdef"[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};

/// The rest of a line.
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl Cursor<'_> {
    pub(super) fn byte(&mut self, expected: u8) -> Option<()> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        (first == expected).then_some(())
    }

    /// Takes one blank or more.
    pub(super) fn blanks(&mut self) -> Option<()> {
        self.byte(b' ')?;
        while let [b' ', rest @ ..] = self.0 {
            self.0 = rest;
        }
        Some(())
    }

    pub(super) fn end_of_field(&self) -> Option<()> {
        matches!(self.0, [] | [b' ', ..]).then_some(())
    }

    /// Takes 1 to 16 hexadecimal digits.
    pub(super) fn hex(&mut self) -> Option<u64> {
        let (mut value, mut digits) = (0u64, 0);
        while let [first, rest @ ..] = self.0 {
            let digit = HEX[usize::from(*first)];
            if digit > 15 {
                break;
            }
            digits += 1;
            if digits > 16 {
                return None;
            }
            value = value << 4 | u64::from(digit);
            self.0 = rest;
        }
        (digits > 0).then_some(value)
    }

    pub(super) fn hex_u16(&mut self) -> Option<u16> {
        u16::try_from(self.hex()?).ok()
    }

    pub(super) fn hex_u32(&mut self) -> Option<u32> {
        u32::try_from(self.hex()?).ok()
    }

    pub(super) fn decimal(&mut self) -> Option<u64> {
        let (mut value, mut any) = (0u64, false);
        while let [first @ b'0'..=b'9', rest @ ..] = self.0 {
            value = value.checked_mul(10)?.checked_add(u64::from(first - b'0'))?;
            any = true;
            self.0 = rest;
        }
        any.then_some(value)
    }

    /// Takes exactly 8 digits: a word of an address as the host's integer.
    pub(super) fn word(&mut self) -> Option<u32> {
        let (digits, rest) = self.0.split_first_chunk::<8>()?;
        let mut value = 0u32;
        for digit in digits {
            let digit = HEX[usize::from(*digit)];
            if digit > 15 {
                return None;
            }
            value = value << 4 | u32::from(digit);
        }
        self.0 = rest;
        // The kernel prints the packet's word with %08X, as a host integer.
        Some(value)
    }

    /// Takes 1 word (IPv4) or 4 (IPv6), up to a colon.
    pub(super) fn address(&mut self) -> Option<(u8, [u32; 4])> {
        let mut address = [0; 4];
        let [first, others @ ..] = &mut address;
        *first = self.word()?;
        if self.0.first() == Some(&b':') {
            return Some((4, address));
        }
        for word in others {
            *word = self.word()?;
        }
        Some((6, address))
    }

    /// Takes the field up to the next blank or the end; `None` if it is empty.
    pub(super) fn word_field(&mut self) -> Option<&[u8]> {
        let end = self.0.iter().position(|&c| c == b' ').unwrap_or(self.0.len());
        let (field, rest) = self.0.split_at(end);
        self.0 = rest;
        (!field.is_empty()).then_some(field)
    }

    /// Takes a decimal number of 32 bits.
    pub(super) fn decimal_u32(&mut self) -> Option<u32> {
        u32::try_from(self.decimal()?).ok()
    }

    /// Takes a decimal number that is printed with a sign (`%d`); a negative one becomes 0: a queue is
    /// never shorter than empty, but the kernel may print a counter while it changes.
    pub(super) fn signed_u32(&mut self) -> Option<u32> {
        if let [b'-', rest @ ..] = self.0 {
            self.0 = rest;
            return self.decimal().map(|_| 0);
        }
        self.decimal_u32()
    }

    /// Takes a kernel address as `%pK` prints it: hexadecimal, or a word such as `(____ptrval____)`.
    pub(super) fn pointer(&mut self) -> Option<()> {
        self.word_field().map(drop)
    }
}
