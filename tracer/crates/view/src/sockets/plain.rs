//! The line of a typical socket of a large table: TCP or UDP by IPv4, held by one process or none,
//! without colours. It has a fixed shape, so nothing has to be measured: it takes a fifth of the time
//! of the general writer (`TextRows::write`), whose output it must equal.

use super::table::{END, OWNER, PROTO, QUEUE, STATE};
use super::{Shown, cells};
use tracer_host::sockets::proto::Proto;
use tracer_host::sockets::row::{Inet, Kind};
use tracer_stream::OwnerSource;

/// The beginnings of the columns, each a blank behind the one before.
const AT_STATE: usize = PROTO + 1;
const AT_RECV_Q: usize = AT_STATE + STATE + 1;
const AT_SEND_Q: usize = AT_RECV_Q + QUEUE + 1;
const AT_LOCAL: usize = AT_SEND_Q + QUEUE + 1;
const AT_REMOTE: usize = AT_LOCAL + END + 1;
const AT_OWNER: usize = AT_REMOTE + END + 1;

/// The number of owners kept as text.
const NAMES: usize = 64;

/// Writes lines of the fixed shape.
#[derive(Debug)]
pub(super) struct PlainRows {
    /// By the remainder of the process id; no process has the greatest number.
    names: Vec<(u32, String)>,
}

impl Default for PlainRows {
    fn default() -> Self {
        Self { names: vec![(u32::MAX, String::new()); NAMES] }
    }
}

impl PlainRows {
    /// Appends the line; `false` if the socket does not fit the shape.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, shown: &Shown<'_>) -> bool {
        let row = shown.row;
        let Kind::Inet(inet @ Inet { family: 4, ifindex: 0, .. }) = &row.kind else { return false };
        if !matches!(row.proto, Proto::Tcp | Proto::Udp) {
            return false;
        }
        let Some(owner) = self.owner(shown, OWNER) else { return false };
        let mut line = [b' '; AT_OWNER];
        put(&mut line, 0, row.proto.name().as_bytes());
        put(&mut line, AT_STATE, row.state.name().as_bytes());
        if !(right(&mut line, AT_SEND_Q - 2, row.recv_q) && right(&mut line, AT_LOCAL - 2, row.send_q)) {
            return false;
        }
        endpoint(&mut line, AT_LOCAL, inet.laddr[0], inet.lport);
        if inet.rport == 0 && inet.raddr[0] == 0 {
            line[AT_REMOTE] = b'*';
        } else {
            endpoint(&mut line, AT_REMOTE, inet.raddr[0], inet.rport);
        }
        out.extend_from_slice(&line);
        out.extend_from_slice(owner.as_bytes());
        out.push(b'\n');
        true
    }

    /// Returns the owner as text; `None` if there are several, or the source is not a file.
    fn owner(&mut self, shown: &Shown<'_>, columns: usize) -> Option<&str> {
        let ownership = shown.picture.owners.of(shown.row);
        let pid = match (ownership.pids, ownership.source) {
            ([], _) => return Some("-"),
            ([pid], OwnerSource::Fd) => *pid,
            _ => return None,
        };
        let place = self.names.get_mut(pid as usize % NAMES)?;
        if place.0 != pid {
            place.0 = pid;
            place.1.clear();
            cells::owner(&mut place.1, shown.picture, shown.row, columns, false);
        }
        Some(&place.1)
    }
}

fn put(line: &mut [u8; AT_OWNER], at: usize, text: &[u8]) {
    if let Some(place) = line.get_mut(at..at + text.len()) {
        place.copy_from_slice(text);
    }
}

/// Writes a number that ends at `last`; `false` if its column is too narrow.
fn right(line: &mut [u8; AT_OWNER], last: usize, number: u32) -> bool {
    let mut rest = number;
    for place in line.get_mut(last + 1 - QUEUE..=last).unwrap_or_default().iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return true;
        }
    }
    false
}

/// Writes address and port.
fn endpoint(line: &mut [u8; AT_OWNER], at: usize, addr: u32, port: u16) {
    let mut end = at;
    for byte in addr.to_ne_bytes() {
        let (octet, length) = cells::OCTETS[usize::from(byte)];
        put(line, end, &octet);
        end += usize::from(length);
    }
    // Overwrites the last dot and the bytes behind it.
    let digits = port.checked_ilog10().map_or(1, |digits| digits as usize + 1);
    put(line, end - 1, b":    ");
    if port == 0 {
        put(line, end, b"*");
        return;
    }
    let mut rest = port;
    for place in line.get_mut(end..end + digits).unwrap_or_default().iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{TableOptions, TextRows};
    use super::*;
    use tracer_fuzz::Random;
    use tracer_host::sockets::collect::Picture;
    use tracer_host::sockets::proto::State;
    use tracer_host::sockets::row::Row;

    const STATES: [State; 12] = [
        State::Listen,
        State::Unconn,
        State::Established,
        State::SynSent,
        State::SynRecv,
        State::FinWait1,
        State::FinWait2,
        State::TimeWait,
        State::CloseWait,
        State::LastAck,
        State::Closing,
        State::Close,
    ];

    #[test]
    fn lines_are_as_in_general() {
        let mut random = Random::seeded();
        let picture = Picture { own_netns: Some(1), ..Picture::default() };
        let mut plain = PlainRows::default();
        let mut general = TextRows::in_general(TableOptions::default(), Some(1));
        let mut written = 0;
        for _ in 0..100_000 {
            let row = Row {
                proto: if random.below(2) == 0 { Proto::Tcp } else { Proto::Udp },
                state: STATES[random.below(STATES.len())],
                netns: 1,
                inode: random.any(),
                cookie: None,
                uid: None,
                recv_q: random.any() as u32,
                send_q: random.any() as u32,
                kind: Kind::Inet(Inet {
                    family: 4,
                    laddr: [(random.any() as u32).to_be(), 0, 0, 0],
                    lport: random.any() as u16,
                    raddr: [(random.any() as u32).to_be(), 0, 0, 0],
                    rport: random.any() as u16,
                    ifindex: 0,
                    v6only: None,
                    tcp: None,
                }),
            };
            let shown = Shown { picture: &picture, row: &row, number: 1, change: None };
            let (mut one, mut other) = (Vec::new(), Vec::new());
            if plain.write(&mut one, &shown) {
                general.write(&mut other, &shown);
                assert_eq!(String::from_utf8_lossy(&one), String::from_utf8_lossy(&other), "{row:?}");
                written += 1;
            }
        }
        assert!(written > 5_000, "{written}");
    }
}
