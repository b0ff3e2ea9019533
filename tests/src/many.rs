//! More connections than tracer reads by sock_diag, where a program can read the kernel's table of them.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::agent::tracer_program;
use crate::machine;
use crate::netns::Netns;

/// Connections with both ends in this process: more sockets than the threshold.
pub const PAIRS: usize = 3_300;
/// The way of reading in the output of `-v`.
pub const WAY: &str = "connections by BPF";
/// One at a time: a process may not have files for several.
static ONE: Mutex<()> = Mutex::new(());

/// Connections in a namespace of their own.
#[derive(Debug)]
pub struct Many {
    /// The namespace.
    pub ns: Netns,
    _listeners: [TcpListener; 2],
    _ends: Vec<TcpStream>,
    _one: MutexGuard<'static, ()>,
}

impl Many {
    /// Opens connections of both families; some have unread bytes, some are half closed.
    #[must_use]
    pub fn open() -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        machine::raise_files(2 * PAIRS as u64 + 200);
        let ns = Netns::new();
        let (listeners, ends) = ns.within(|| {
            let listeners = ["127.0.0.1:0", "[::1]:0"].map(|at| TcpListener::bind(at).unwrap());
            let addresses: [SocketAddr; 2] = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
            let mut ends = Vec::new();
            for i in 0..PAIRS {
                let mut client = TcpStream::connect(addresses[i % 2]).unwrap();
                let (mut server, _) = listeners[i % 2].accept().unwrap();
                match i % 10 {
                    3 => client.write_all(b"unread").unwrap(),
                    4 => server.write_all(b"neither").unwrap(),
                    5 => client.shutdown(Shutdown::Write).unwrap(),
                    _ => {}
                }
                ends.extend([client, server]);
            }
            (listeners, ends)
        });
        Self { ns, _listeners: listeners, _ends: ends, _one: one }
    }

    /// Like [`lines`], about these connections.
    #[must_use]
    pub fn lines(&self, via: &str) -> (Vec<String>, bool) {
        lines(None, &self.ns, via)
    }
}

/// The lines about TCP sockets of `ns` from a tracer that runs in `from`, else in the namespace of this process; and
/// whether a program read a table.
///
/// # Panics
/// If it fails.
#[must_use]
pub fn lines(from: Option<&Netns>, ns: &Netns, via: &str) -> (Vec<String>, bool) {
    let netns = ns.inode().to_string();
    let mut command = from.map_or_else(|| Command::new(tracer_program()), |from| from.command(tracer_program()));
    let out = command.args(["sockets", "-v", "-t", "--netns", &netns, "--via", via]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}");
    let text = String::from_utf8_lossy(&out.stdout);
    let lines = text.lines().filter(|line| line.starts_with("tcp ")).map(ToOwned::to_owned).collect();
    (lines, said.contains(WAY))
}
