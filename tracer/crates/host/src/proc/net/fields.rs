//! The fields of a line, taken from the left.

use std::net::Ipv6Addr;

use super::super::dir::decimal;

/// The rest of a line. Every method takes one field; `None` if there is none, or one of another kind.
#[derive(Clone)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(line: &'a [u8]) -> Self {
        Self(line)
    }

    /// Takes a word.
    pub(super) fn word(&mut self) -> Option<&'a [u8]> {
        let text = self.0.trim_ascii_start();
        let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
        let (word, rest) = text.split_at_checked(end)?;
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    /// Takes a word as text. A device name may have any bytes but blanks and a few signs.
    pub(super) fn text(&mut self) -> Option<String> {
        self.word().map(text)
    }

    /// Takes a word up to a colon; the next field may follow at once (as in `eth0:123`).
    pub(super) fn label(&mut self) -> Option<&'a [u8]> {
        let text = self.0.trim_ascii_start();
        let end = text.iter().position(|&c| c == b':')?;
        let (label, rest) = text.split_at_checked(end)?;
        self.0 = rest.get(1..)?;
        let label = label.trim_ascii_end();
        (!label.is_empty() && !label.iter().any(u8::is_ascii_whitespace)).then_some(label)
    }

    /// Takes a decimal number.
    pub(super) fn number<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(decimal(self.word()?)?).ok()
    }

    /// Takes a decimal number that may be negative.
    pub(super) fn signed(&mut self) -> Option<i128> {
        signed(self.word()?)
    }

    /// Takes a hexadecimal number without prefix.
    pub(super) fn hex<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(hex(self.word()?)?).ok()
    }

    /// Takes a hexadecimal number with `0x`.
    pub(super) fn prefixed_hex<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(hex(self.word()?.strip_prefix(b"0x")?)?).ok()
    }

    /// Takes 32 hexadecimal digits: an IPv6 address as `%pi6` prints it.
    pub(super) fn ipv6(&mut self) -> Option<Ipv6Addr> {
        let word = self.word().filter(|word| word.len() == 32 && word.iter().all(u8::is_ascii_hexdigit))?;
        u128::from_str_radix(str::from_utf8(word).ok()?, 16).ok().map(Ipv6Addr::from)
    }

    /// Checks that nothing is left.
    pub(super) fn end(&self) -> Option<()> {
        self.0.trim_ascii().is_empty().then_some(())
    }

    /// Returns the number of words left.
    pub(super) fn left(&self) -> usize {
        let mut rest = self.clone();
        std::iter::from_fn(|| rest.word()).count()
    }
}

/// Converts bytes to text; bytes that are not UTF-8 are replaced.
pub(super) fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

/// Parses 1 to 16 hexadecimal digits.
pub(super) fn hex(word: &[u8]) -> Option<u64> {
    if word.is_empty() || word.len() > 16 {
        return None;
    }
    word.iter().try_fold(0, |n, &c| Some(n << 4 | u64::from(char::from(c).to_digit(16)?)))
}

/// Parses a decimal number of at most 64 bits, with or without a minus.
pub(super) fn signed(word: &[u8]) -> Option<i128> {
    match word.strip_prefix(b"-") {
        Some(word) => decimal(word).map(|n| -i128::from(n)),
        None => decimal(word).map(i128::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_words() {
        let mut fields = Fields::new(b" 12\t-3 ff 0x1f 12a \n");
        assert_eq!(fields.left(), 5);
        assert_eq!(fields.number(), Some(12u8));
        assert_eq!(fields.signed(), Some(-3));
        assert_eq!(fields.hex(), Some(255u8));
        assert_eq!(fields.prefixed_hex(), Some(31u8));
        assert_eq!(fields.end(), None);
        assert_eq!(fields.number::<u64>(), None);
        assert_eq!((fields.end(), fields.word()), (Some(()), None));
        assert_eq!(Fields::new(b"256").number::<u8>(), None);
        assert_eq!(Fields::new(b"18446744073709551616").number::<u64>(), None);
        assert_eq!(Fields::new(b"11112222333344445").hex::<u64>(), None, "more than 64 bits");
        assert_eq!(Fields::new(b"+f").hex::<u64>(), None);
    }

    #[test]
    fn labels_end_with_a_colon() {
        let mut fields = Fields::new(b"  eth0:123 4");
        assert_eq!((fields.label(), fields.number()), (Some(&b"eth0"[..]), Some(123u64)));
        assert_eq!(Fields::new(b"a b: 1").label(), None);
        assert_eq!(Fields::new(b": 1").label(), None);
        assert_eq!(Fields::new(b"eth0").label(), None);
    }
}
