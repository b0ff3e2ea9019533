//! The sockets that appeared and vanished between two pictures.

use std::collections::HashMap;

use super::proto::{Proto, State};
use super::row::{Kind, Row};

/// The change of a socket since the last picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The socket is new.
    Appeared,
    /// The socket was in another state.
    Changed,
    /// The socket is gone.
    Vanished,
}

impl Change {
    /// Returns the name in the stream.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Appeared => "appeared",
            Self::Changed => "changed",
            Self::Vanished => "vanished",
        }
    }

    /// Returns the mark before a line.
    #[must_use]
    pub const fn mark(self) -> char {
        match self {
            Self::Appeared => '+',
            Self::Changed => '~',
            Self::Vanished => '-',
        }
    }
}

/// Identifies a socket while it lives, by its addresses. A connection keeps them when its process
/// closes it and it loses its file, and no two have the same at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// By addresses and ports; sockets that can share them also have their inodes.
    Inet(Proto, u32, [u32; 4], u16, [u32; 4], u16, u64),
    /// By inode; the kernel's own sockets have none and differ by their address.
    Other(Proto, u32, u64, u32),
}

impl Identity {
    /// Returns the identity of `row`.
    #[must_use]
    pub fn of(row: &Row) -> Self {
        match &row.kind {
            Kind::Inet(inet) => {
                let is_connected = inet.rport != 0 && row.proto == Proto::Tcp;
                let inode = if is_connected { 0 } else { row.inode };
                Self::Inet(row.proto, row.netns, inet.laddr, inet.lport, inet.raddr, inet.rport, inode)
            }
            Kind::Netlink(netlink) => {
                Self::Other(row.proto, row.netns, row.inode << 8 | u64::from(netlink.protocol), netlink.portid)
            }
            Kind::Unix(_) | Kind::Packet(_) => Self::Other(row.proto, row.netns, row.inode, 0),
        }
    }
}

/// Numbers of sockets, constant while they live, and their last states.
#[derive(Debug, Default)]
pub struct Known {
    sockets: HashMap<Identity, (u64, State)>,
    last: u64,
}

impl Known {
    /// Returns the number of `identity`, and the change if the socket is new or in another state.
    pub fn meet(&mut self, identity: Identity, state: State) -> (u64, Option<Change>) {
        let last = &mut self.last;
        let mut change = None;
        let known = self.sockets.entry(identity).or_insert_with(|| {
            *last += 1;
            change = Some(Change::Appeared);
            (*last, state)
        });
        if known.1 != state {
            known.1 = state;
            change = Some(Change::Changed);
        }
        (known.0, change)
    }

    /// Forgets `identity`, and returns its number.
    pub fn forget(&mut self, identity: &Identity) -> Option<u64> {
        self.sockets.remove(identity).map(|(number, _)| number)
    }
}
