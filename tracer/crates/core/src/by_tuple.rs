//! Older sockets by their tuple, for records without a number.
//!
//! A tuple does not identify a socket: several may listen on one address and port (`SO_REUSEPORT`, one per device), and
//! only their inodes differ. Without the kernel's type information a record has neither inode nor network namespace
//! (0). Then the record means the socket that agrees in all else, if there is only one.

use std::collections::HashMap;

use tracer_common::record::Tuple;

use super::connection::TupleKey;

impl TupleKey {
    /// The same key without a namespace.
    #[must_use]
    pub const fn anywhere(&self) -> Self {
        Self { netns: 0, ..*self }
    }
}

/// An item with an inode; 0 if it has no file.
pub trait Filed {
    /// The inode.
    fn inode(&self) -> u64;
}

impl<T: Filed> Filed for &T {
    fn inode(&self) -> u64 {
        T::inode(self)
    }
}

/// Mostly one item, which takes no memory beside the table's.
#[derive(Debug)]
enum Same<T> {
    One(T),
    Several(Vec<T>),
}

impl<T> Same<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }
}

/// Sockets that no record has named yet.
#[derive(Debug)]
pub struct ByTuple<T> {
    by_tuple: HashMap<TupleKey, Same<T>>,
    /// Filled when the first record without a namespace comes.
    anywhere: HashMap<TupleKey, Vec<TupleKey>>,
    /// Filled at the first look-up of an inode.
    by_inode: HashMap<u64, TupleKey>,
}

impl<T> Default for ByTuple<T> {
    fn default() -> Self {
        Self { by_tuple: HashMap::new(), anywhere: HashMap::new(), by_inode: HashMap::new() }
    }
}

impl<T: Filed> ByTuple<T> {
    /// Adds a socket.
    pub fn insert(&mut self, key: TupleKey, socket: T) {
        if !self.anywhere.is_empty() {
            self.anywhere.entry(key.anywhere()).or_default().push(key);
        }
        if !self.by_inode.is_empty() {
            self.by_inode.insert(socket.inode(), key);
        }
        match self.by_tuple.remove(&key) {
            None => self.by_tuple.insert(key, Same::One(socket)),
            Some(Same::One(other)) => self.by_tuple.insert(key, Same::Several(vec![other, socket])),
            Some(Same::Several(mut several)) => {
                several.push(socket);
                self.by_tuple.insert(key, Same::Several(several))
            }
        };
    }

    /// All sockets.
    pub fn iter(&self) -> impl Iterator<Item = (&TupleKey, &T)> {
        self.by_tuple.iter().flat_map(|(key, same)| same.as_slice().iter().map(move |socket| (key, socket)))
    }

    /// The sockets with this tuple, in its namespace.
    #[must_use]
    pub fn same(&self, key: &TupleKey) -> &[T] {
        self.by_tuple.get(key).map_or(&[], Same::as_slice)
    }

    /// A socket by its inode.
    pub fn with_inode(&mut self, inode: u64) -> Option<&T> {
        if self.by_inode.is_empty() {
            let inodes = self.by_tuple.iter().flat_map(|(key, same)| {
                same.as_slice().iter().map(|socket| (socket.inode(), *key)).filter(|(inode, _)| *inode != 0)
            });
            self.by_inode = inodes.collect();
        }
        self.same(self.by_inode.get(&inode)?).iter().find(|socket| socket.inode() == inode)
    }

    /// Forgets all sockets.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes the socket that a record with this tuple and inode (0: none or unknown) means.
    ///
    /// # Errors
    /// All candidates, if there are several: none is taken.
    pub fn take(&mut self, tuple: &Tuple, inode: u64) -> Result<Option<T>, Vec<&T>> {
        let key = TupleKey::from(tuple);
        let keys = if key.netns == 0 { self.keys_anywhere(&key) } else { vec![key] };
        let candidates = || keys.iter().flat_map(|key| self.same(key).iter().enumerate().map(move |at| (*key, at)));
        // A socket without a file may have got one since; a socket with another file is another socket.
        let exact = candidates().find(|(_, (_, socket))| inode != 0 && socket.inode() == inode);
        let may_be = |socket: &T| inode == 0 || socket.inode() == 0;
        let (key, at) = match exact {
            Some((key, (at, _))) => (key, at),
            None => {
                let mut fitting = candidates().filter(|(_, (_, socket))| may_be(socket));
                match (fitting.next(), fitting.next()) {
                    (None, _) => return Ok(None),
                    (Some((key, (at, _))), None) => (key, at),
                    _ => {
                        let all = keys.iter().flat_map(|key| self.same(key));
                        return Err(all.filter(|socket| may_be(socket)).collect());
                    }
                }
            }
        };
        Ok(self.remove(&key, at))
    }

    fn keys_anywhere(&mut self, key: &TupleKey) -> Vec<TupleKey> {
        if self.anywhere.is_empty() {
            for key in self.by_tuple.keys() {
                self.anywhere.entry(key.anywhere()).or_default().push(*key);
            }
        }
        let mut keys = self.anywhere.get(key).cloned().unwrap_or_default();
        keys.dedup();
        keys
    }

    fn remove(&mut self, key: &TupleKey, at: usize) -> Option<T> {
        match self.by_tuple.get_mut(key)? {
            Same::Several(several) if several.len() > 1 => Some(several.swap_remove(at)),
            _ => match self.by_tuple.remove(key)? {
                Same::One(one) => Some(one),
                Same::Several(mut several) => several.pop(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq, Clone, Copy)]
    struct Socket(u64, u64);

    impl Filed for Socket {
        fn inode(&self) -> u64 {
            self.1
        }
    }

    fn tuple(netns: u32, lport: u16) -> Tuple {
        Tuple { laddr: [1; 4], raddr: [2; 4], lport, rport: 80, family: 4, reserved: [0; 3], netns, ifindex: 0 }
    }

    fn sockets(all: &[(u64, u64, Tuple)]) -> ByTuple<Socket> {
        let mut sockets = ByTuple::default();
        for (id, inode, tuple) in all {
            sockets.insert(tuple.into(), Socket(*id, *inode));
        }
        sockets
    }

    fn number(taken: Result<Option<Socket>, Vec<&Socket>>) -> Result<Option<u64>, usize> {
        taken.map(|socket| socket.map(|socket| socket.0)).map_err(|several| several.len())
    }

    #[test]
    fn a_record_with_its_namespace_means_one() {
        let mut sockets = sockets(&[(1, 0, tuple(7, 1000)), (2, 0, tuple(7, 1001)), (3, 0, tuple(8, 1001))]);
        assert_eq!(number(sockets.take(&tuple(8, 1001), 0)), Ok(Some(3)));
        assert_eq!(number(sockets.take(&tuple(8, 1001), 0)), Ok(None));
        assert_eq!(number(sockets.take(&tuple(9, 1000), 0)), Ok(None));
    }

    #[test]
    fn a_record_without_one_means_what_it_can_only_mean() {
        let mut sockets = sockets(&[(1, 0, tuple(7, 1000)), (2, 0, tuple(7, 1001)), (3, 0, tuple(8, 1001))]);
        assert_eq!(number(sockets.take(&tuple(0, 1000), 0)), Ok(Some(1)));
        assert_eq!(number(sockets.take(&tuple(0, 1000), 0)), Ok(None));
        assert_eq!(number(sockets.take(&tuple(0, 1001), 0)), Err(2));
        assert_eq!(number(sockets.take(&tuple(0, 1002), 0)), Ok(None));
    }

    #[test]
    fn of_several_with_one_tuple_the_inode_tells() {
        let at = tuple(7, 80);
        let mut sockets = sockets(&[(1, 11, at), (2, 12, at), (3, 13, at)]);
        assert_eq!(sockets.same(&(&at).into()).len(), 3);
        assert_eq!(sockets.with_inode(13), Some(&Socket(3, 13)));
        assert_eq!(sockets.with_inode(14), None);
        assert_eq!(number(sockets.take(&at, 12)), Ok(Some(2)));
        assert_eq!(number(sockets.take(&at, 12)), Ok(None), "another socket is not meant");
        assert_eq!(number(sockets.take(&at, 0)), Err(2), "nothing tells");
        assert_eq!(number(sockets.take(&at, 13)), Ok(Some(3)));
        assert_eq!(number(sockets.take(&at, 0)), Ok(Some(1)), "the last one");
        assert_eq!(sockets.with_inode(11), None);
    }

    #[test]
    fn one_without_a_file_may_have_got_it_since() {
        let at = tuple(7, 80);
        let mut sockets = sockets(&[(1, 0, at)]);
        assert_eq!(number(sockets.take(&at, 12)), Ok(Some(1)));
    }
}
