//! Connections by the addresses of their packets: open ones, and for a while ended ones.

use std::{collections::HashMap, rc::Rc};

use tracer_common::record::Tuple;
use tracer_stream::{ConnId, Owner, OwnerSource, Role, Socket};

use super::super::{connection::Connection, identity::IdentityHasher};

/// The most ended connections that are remembered.
const ENDED: usize = 4096;

/// A connection that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    conn: ConnId,
    pub tuple: Tuple,
    role: Role,
    owner: Option<Rc<Owner>>,
    owner_source: OwnerSource,
    /// Other holders; empty once it has ended.
    holders: Vec<u32>,
    mptcp: bool,
    /// The filter shows it.
    pub admitted: bool,
}

impl Ended {
    /// A connection as it is now.
    pub fn of(connection: &Connection) -> Self {
        Self {
            conn: connection.conn,
            tuple: connection.tuple,
            role: connection.role,
            owner: connection.owner.clone(),
            owner_source: connection.owner_source,
            holders: connection.holders.clone(),
            mptcp: connection.mptcp,
            admitted: connection.admitted == Some(true),
        }
    }

    /// Its keys.
    pub fn socket(&self) -> Socket<'_> {
        // Only the addresses matter here: the other keys are replaced.
        let mut socket = Connection::socket_of(self.conn, &self.tuple, self.role);
        socket.owner = self.owner.as_deref();
        socket.owner_source = self.owner_source;
        socket.holders = &self.holders;
        socket.mptcp = self.mptcp;
        socket
    }
}

/// The number of bits of a key that select a chain of ended connections.
const CHAIN_BITS: u32 = 13;

/// The last ended connections, in a ring. Connections whose keys begin alike form a chain, newest first. Entries need
/// no removal: a chain ends where it leaves the ring.
#[derive(Default)]
struct Past {
    ring: Vec<(Ended, u64)>,
    /// Number of ended connections; the numbering starts at 1.
    count: u64,
    /// The last of each chain; 0 for none.
    last: Vec<u64>,
}

impl Past {
    fn add(&mut self, key: u64, ended: Ended) {
        if self.last.is_empty() {
            self.last = vec![0; 1 << CHAIN_BITS];
        }
        self.count += 1;
        let Some(last) = self.last.get_mut(Self::chain(key)) else { return };
        let entry = (ended, std::mem::replace(last, self.count));
        if self.ring.len() < ENDED {
            self.ring.push(entry);
        } else if let Some(oldest) = self.ring.get_mut(Self::place(self.count)) {
            *oldest = entry;
        }
    }

    fn find(&self, tuple: &Tuple) -> Option<&Ended> {
        let mut number = *self.last.get(Self::chain(key(tuple)))?;
        while number != 0 && number + ENDED as u64 > self.count {
            let (ended, before) = self.ring.get(Self::place(number))?;
            if is_same(&ended.tuple, tuple) {
                return Some(ended);
            }
            number = *before;
        }
        None
    }

    fn place(number: u64) -> usize {
        usize::try_from((number - 1) % ENDED as u64).unwrap_or(0)
    }

    fn chain(key: u64) -> usize {
        usize::try_from(key >> (u64::BITS - CHAIN_BITS)).unwrap_or(0)
    }
}

/// Open and ended connections by the hash of their whole tuple. Of two open connections with equal hashes the later one
/// is found, and only after a comparison of its tuple.
#[derive(Default)]
pub struct Index {
    open: HashMap<u64, u64, IdentityHasher>,
    past: Past,
}

impl Index {
    /// Adds a connection whose tuple is known now.
    pub fn add(&mut self, id: u64, connection: &mut Connection) {
        let tuple = &connection.tuple;
        if connection.role == Role::Listener || tuple.lport == 0 || tuple.rport == 0 {
            return;
        }
        let key = key(tuple);
        if connection.indexed != Some(key) {
            self.remove(connection.indexed);
        } else if self.open.get(&key) == Some(&id) {
            return;
        }
        connection.indexed = Some(key);
        self.open.insert(key, id);
    }

    fn remove(&mut self, key: Option<u64>) {
        if let Some(key) = key {
            self.open.remove(&key);
        }
    }

    /// Moves a connection to the ended ones.
    pub fn end(&mut self, connection: &Connection) {
        self.remove(connection.indexed);
        // Its port may have become known only now.
        if connection.role == Role::Listener || connection.tuple.lport == 0 || connection.tuple.rport == 0 {
            return;
        }
        self.past.add(key(&connection.tuple), Ended { holders: Vec::new(), ..Ended::of(connection) });
    }

    /// The number of the open connection that may have this tuple.
    pub fn open(&self, tuple: &Tuple) -> Option<u64> {
        self.open.get(&key(tuple)).copied()
    }

    /// The ended connection with this tuple.
    pub fn ended(&self, tuple: &Tuple) -> Option<&Ended> {
        self.past.find(tuple)
    }
}

/// Whether both name the same connection; a v4-mapped address is the IPv4 address that it carries.
pub fn is_same(a: &Tuple, b: &Tuple) -> bool {
    plain(a) == plain(b)
}

type Plain = (u32, u16, u16, [u32; 4], [u32; 4]);

fn plain(tuple: &Tuple) -> Plain {
    let address = |words: [u32; 4]| match words {
        [0, 0, mark, last] if tuple.family == 6 && mark == 0xffff_u32.to_be() => [last, 0, 0, 0],
        words => words,
    };
    (tuple.netns, tuple.lport, tuple.rport, address(tuple.laddr), address(tuple.raddr))
}

/// A hash of a tuple.
pub fn key(tuple: &Tuple) -> u64 {
    let (netns, lport, rport, laddr, raddr) = plain(tuple);
    let mut key = u64::from(netns) << 32 | u64::from(lport) << 16 | u64::from(rport);
    for (local, remote) in laddr.into_iter().zip(raddr) {
        key = (key ^ (u64::from(local) << 32 | u64::from(remote))).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        key ^= key >> 29;
    }
    // Spread over the high bits, too.
    key.wrapping_mul(0x94d0_49bb_1331_11eb)
}
