//! Sorts the rows of one namespace while more of them are read: at the end, when the whole command waits, only sorted
//! runs are left to merge.

use super::order::{self, Key, Keyed};
use super::row::Row;

/// The number of rows sorted together, while they are in the caches.
const RUN: usize = 1024;

/// Rows, with the order of those sorted so far.
#[derive(Debug, Default)]
pub struct Gathered {
    rows: Vec<Row>,
    key: Option<Key>,
    /// The keys of the first rows, in sorted runs.
    keyed: Vec<Keyed>,
}

impl Gathered {
    /// Makes an empty set that will be in the order of `key`.
    #[must_use]
    pub fn new(key: Option<Key>) -> Self {
        Self { rows: Vec::new(), key, keyed: Vec::new() }
    }

    /// Like [`Self::new`], with room for `rows` rows.
    #[must_use]
    pub fn with_room(key: Option<Key>, rows: usize) -> Self {
        let keyed = if key.is_some() { Vec::with_capacity(rows) } else { Vec::new() };
        Self { rows: Vec::with_capacity(rows), key, keyed }
    }

    /// Appends a row.
    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
        if self.key.is_some() && self.rows.len() - self.keyed.len() >= RUN {
            self.settle();
            self.merge();
        }
    }

    /// Appends another set, which has the same key.
    pub fn append(&mut self, mut other: Self) {
        if self.rows.is_empty() {
            *self = other;
            return;
        }
        self.settle();
        let before = place(self.rows.len());
        self.keyed.extend(other.keyed.into_iter().map(|(key, at)| (key, before + at)));
        self.rows.append(&mut other.rows);
    }

    /// Returns the key of the order.
    #[must_use]
    pub const fn key(&self) -> Option<Key> {
        self.key
    }

    /// Returns the number of rows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Keeps the first `count` rows, because the later ones come from an incomplete read.
    pub fn truncate(&mut self, count: usize) {
        self.rows.truncate(count);
        let end = place(count);
        self.keyed.retain(|(_, at)| *at < end);
    }

    /// Returns the rows, and their places in order; no places without a key.
    #[must_use]
    pub fn in_order(mut self) -> (Vec<Row>, Vec<u32>) {
        self.settle();
        let places = self.key.map_or_else(Vec::new, |key| order::places(&self.rows, self.keyed, key));
        (self.rows, places)
    }

    /// Sorts the rows added since the last call into a run of their own.
    fn settle(&mut self) {
        let Some(key) = self.key else { return };
        let begin = self.keyed.len();
        let new = self.rows.get(begin..).unwrap_or_default();
        self.keyed.extend((place(begin)..).zip(new).map(|(at, row)| order::keyed(at, row, key)));
        self.keyed.get_mut(begin..).unwrap_or_default().sort_unstable();
    }

    /// Merges the last runs, of the lengths 1, 1, 2, 4 and so on, so that few, long runs are left at the end.
    fn merge(&mut self) {
        let runs = self.keyed.len() / RUN;
        if runs > 0 && runs.is_multiple_of(2) {
            let last = RUN << runs.trailing_zeros();
            let begin = self.keyed.len().saturating_sub(last);
            self.keyed.get_mut(begin..).unwrap_or_default().sort();
        }
    }
}

/// Converts a place; no host has room for 2^32 sockets.
fn place(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use clap::ValueEnum as _;

    use super::*;
    use crate::sockets::proto::{Proto, State};
    use crate::sockets::row::{Inet, Kind, Netlink};
    use tracer_fuzz::Random;

    /// Makes a row with few different values, so that some rows are equal.
    fn row(random: &mut Random, inode: u64) -> Row {
        let mut few = |count| u32::try_from(random.below(count)).unwrap();
        let (family, proto) = ([4, 6][few(2) as usize], [Proto::Tcp, Proto::Udp, Proto::Netlink][few(3) as usize]);
        let words = if family == 4 { 1 } else { 4 };
        let mut address = || std::array::from_fn(|word| if word < words { few(3).to_be() } else { 0 });
        let (laddr, raddr) = (address(), address());
        let inet = Inet {
            family,
            laddr,
            lport: few(50) as u16,
            raddr,
            rport: few(300) as u16,
            ifindex: 0,
            v6only: None,
            tcp: None,
        };
        let kind = match proto {
            Proto::Netlink => Kind::Netlink(Netlink { protocol: few(5) as u8, portid: few(9), groups: 0 }),
            _ => Kind::Inet(inet),
        };
        let state = [State::Listen, State::Established, State::CloseWait][few(3) as usize];
        Row { proto, state, netns: 0, inode, cookie: None, uid: None, recv_q: few(4), send_q: 0, kind }
    }

    #[test]
    fn what_is_gathered_in_pieces_is_in_order() {
        let mut random = Random::seeded();
        for key in Key::value_variants().iter().copied() {
            for count in [0, 1, RUN - 1, RUN, RUN + 1, 5 * RUN + 7, 20 * RUN] {
                let mut all = Gathered::new(Some(key));
                let mut inode = 0;
                while all.len() < count {
                    let mut piece = Gathered::with_room(Some(key), 8);
                    for _ in 0..=random.below(count - all.len()) {
                        piece.push(row(&mut random, inode));
                        inode += 1;
                    }
                    let kept = all.len();
                    all.append(piece);
                    // An incomplete read.
                    if random.below(4) == 0 {
                        inode -= u64::try_from(all.len() - kept).unwrap();
                        all.truncate(kept);
                    }
                }
                let (rows, places) = all.in_order();
                assert!((0..).zip(&rows).all(|(inode, row)| row.inode == inode), "{key:?}");
                let mut every = places.clone();
                every.sort_unstable();
                assert!(every.iter().copied().eq(0..u32::try_from(count).unwrap()), "{key:?} {count}");
                let shown: Vec<&Row> = places.iter().map(|at| &rows[*at as usize]).collect();
                for pair in shown.windows(2) {
                    assert!(order::compare_rows(pair[0], pair[1], key).is_le(), "{key:?} {pair:#?}");
                }
            }
        }
    }

    #[test]
    fn without_an_order_there_are_no_places() {
        let mut random = Random::seeded();
        let mut gathered = Gathered::new(None);
        (0..3000).for_each(|inode| gathered.push(row(&mut random, inode)));
        let (rows, places) = gathered.in_order();
        assert_eq!((rows.len(), places.len()), (3000, 0));
    }
}
