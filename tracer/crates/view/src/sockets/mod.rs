//! The output of `tracer sockets`: JSON, lines, and lines by process.

mod blocks;
mod cells;
mod json;
mod plain;
mod table;
mod tree;

pub use blocks::write as write_blocks;
pub use json::{JsonRows, SocketRow};
pub use table::{TableOptions, TextRows};
pub use tree::write as write_tree;

use tracer_host::sockets::collect::Picture;
use tracer_host::sockets::proto::State;
use tracer_host::sockets::row::Row;
use tracer_host::sockets::watch::Change;
use tracer_stream::{ConnId, Owner, Role, Socket, address};

/// A socket to show.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Its picture.
    pub picture: &'a Picture,
    /// The socket.
    pub row: &'a Row,
    /// Its number in the output.
    pub number: u64,
    /// Its change, with `--watch`.
    pub change: Option<Change>,
}

/// Returns the keys of all sockets in the stream, with `owner` as the owner.
#[must_use]
pub fn stream_socket<'a>(picture: &'a Picture, row: &'a Row, number: u64, owner: Option<&'a Owner>) -> Socket<'a> {
    let ownership = picture.owners.of(row);
    let mut socket = Socket {
        conn: ConnId(number),
        proto: row.proto.name(),
        family: 0,
        v4mapped: false,
        laddr: None,
        lport: None,
        raddr: None,
        rport: None,
        ifindex: None,
        netns: Some(row.netns),
        home: None,
        role: match row.state {
            State::Listen => Role::Listener,
            State::SynSent => Role::Client,
            _ => Role::Unknown,
        },
        owner,
        owner_source: ownership.source,
        holders: ownership.pids.get(1..).unwrap_or_default(),
        v6only: None,
        mptcp: false,
    };
    if let Some(inet) = row.inet() {
        let (laddr, mapped) = address(inet.family, inet.laddr);
        let (raddr, remote_mapped) = address(inet.family, inet.raddr);
        socket.family = inet.family;
        socket.v4mapped = mapped || remote_mapped;
        socket.laddr = Some(laddr);
        socket.lport = Some(inet.lport).filter(|port| *port != 0);
        let is_connected = inet.rport != 0 || inet.raddr != [0; 4];
        socket.raddr = is_connected.then_some(raddr);
        socket.rport = Some(inet.rport).filter(|port| *port != 0);
        socket.v6only = inet.v6only;
        socket.ifindex = Some(inet.ifindex).filter(|index| *index != 0);
    }
    socket
}

/// Returns the first known holder of `row`.
#[must_use]
pub fn first_owner<'a>(picture: &'a Picture, row: &Row) -> Option<&'a Owner> {
    picture.owners.of(row).pids.iter().find_map(|pid| picture.owners.process(*pid))
}
