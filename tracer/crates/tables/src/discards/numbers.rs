//! Extracts the watched counters from their files, which have some hundred others: the files are read once a second, so
//! the parser touches only the wanted columns.

use std::collections::BTreeMap;

use super::counter::{COUNTERS, Group};

/// The counters of a namespace, in the order of [`COUNTERS`]; `None`: this kernel has no counter of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers(pub [Option<u64>; COUNTERS.len()]);

impl Default for Numbers {
    fn default() -> Self {
        Self([None; COUNTERS.len()])
    }
}

/// Lines of names with known columns.
#[derive(Debug, Default)]
pub struct Columns {
    /// By the line's first word.
    known: BTreeMap<&'static str, Line>,
}

/// A line of names, and the pairs of its columns and counters.
type Line = (Vec<u8>, Vec<(usize, usize)>);

impl Columns {
    /// Parses /proc/net/netstat or /proc/net/snmp: pairs of lines, names and values.
    pub fn pairs(&mut self, text: &[u8], numbers: &mut Numbers) {
        let mut lines = text.split(|byte| *byte == b'\n');
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            for (label, groups) in [("TcpExt:", &[Group::Listener, Group::TcpExt][..]), ("Udp:", &[Group::Udp][..])] {
                if names.starts_with(label.as_bytes()) && values.starts_with(label.as_bytes()) {
                    self.pair(label, groups, names, values, numbers);
                }
            }
        }
    }

    fn pair(&mut self, label: &'static str, groups: &[Group], names: &[u8], values: &[u8], numbers: &mut Numbers) {
        let (line, columns) = self.known.entry(label).or_default();
        if line != names {
            names.clone_into(line);
            *columns = words(names)
                .enumerate()
                .filter_map(|(at, word)| {
                    let is = |counter: &&super::Counter| {
                        groups.contains(&counter.group) && counter.column.as_bytes() == word
                    };
                    Some((at, COUNTERS.iter().position(|counter| is(&counter))?))
                })
                .collect();
        }
        let mut wanted = columns.iter().peekable();
        for (at, word) in words(values).enumerate() {
            let Some((_, counter)) = wanted.next_if(|(column, _)| *column == at) else { continue };
            if let Some(place) = numbers.0.get_mut(*counter) {
                *place = decimal(word);
            }
            if wanted.peek().is_none() {
                break;
            }
        }
    }
}

/// Parses /proc/net/snmp6: a name and a value in each line.
pub fn udp6(text: &[u8], numbers: &mut Numbers) {
    for line in text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"Udp6")) {
        let mut words = words(line);
        let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
        if let Some((place, _)) =
            numbers.0.iter_mut().zip(&COUNTERS).find(|(_, c)| c.group == Group::Udp6 && c.column.as_bytes() == name)
        {
            *place = decimal(value);
        }
    }
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty())
}

fn decimal(word: &[u8]) -> Option<u64> {
    word.iter().try_fold(0_u64, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discards::counter::{OVERFLOWS, UDP_FULL};

    fn number(numbers: &Numbers, name: &str) -> Option<u64> {
        COUNTERS.iter().zip(numbers.0).find_map(|(counter, number)| (counter.name == name).then_some(number)?)
    }

    #[test]
    fn wanted_values_are_found_by_the_names_above_them() {
        let (mut columns, mut numbers) = (Columns::default(), Numbers::default());
        let netstat =
            "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 7 16 18\nIpExt: InNoRoutes\nIpExt: 3\n";
        columns.pairs(netstat.as_bytes(), &mut numbers);
        assert_eq!(number(&numbers, OVERFLOWS), Some(16));
        // Another kernel's order.
        let other = "TcpExt: ListenDrops X ListenOverflows\nTcpExt: 19 1 17\n";
        columns.pairs(other.as_bytes(), &mut numbers);
        assert_eq!(number(&numbers, OVERFLOWS), Some(17));
        columns.pairs(
            b"Ip: X\nIp: 1\nUdp: InDatagrams RcvbufErrors\nUdp: 5 6\nUdpLite: RcvbufErrors\nUdpLite: 9\n",
            &mut numbers,
        );
        assert_eq!(number(&numbers, UDP_FULL[0]), Some(6));
        udp6(b"Ip6InReceives \t4\nUdp6RcvbufErrors                \t34\n", &mut numbers);
        assert_eq!((number(&numbers, UDP_FULL[1]), number(&numbers, "TcpExtRcvPruned")), (Some(34), None));
    }

    #[test]
    fn what_is_cut_or_no_number_is_not_known() {
        let (mut columns, mut numbers) = (Columns::default(), Numbers::default());
        for text in [
            "",
            "TcpExt:",
            "TcpExt: ListenOverflows",
            "TcpExt: ListenOverflows\nTcpExt: -1\n",
            "TcpExt: ListenOverflows\nTcpExt:\n",
        ] {
            columns.pairs(text.as_bytes(), &mut numbers);
            assert_eq!(number(&numbers, OVERFLOWS), None, "{text}");
        }
    }
}
