//! The BPF iterators of `tracer sockets`: the kernel's tables, as records.
//!
//! Loaded by a small loader of our own: aya's wants all of the kernel's type information as objects
//! to find one number in it, and makes every map of the object. That takes longer than all the rest
//! of the command.

mod call;
mod program;

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use tracer_common::iterator::{HolderRecord, TcpRecord};
use tracer_common::settings::{ABSENT, Offsets};

use super::btf::Btf;
use super::{memlock, offsets};
use crate::proc::pidns;
use crate::proc::root::ProcRoot;
use crate::sockets::proto::{Proto, State};
use crate::sockets::row::{Inet, Kind, Row};
use program::{Constants, Program};

/// What the offsets of the iterators and their own types are found by.
const WANTED: &[&str] = &[
    "sock_common",
    "sock",
    "tcp_sock",
    "inet_timewait_sock",
    "socket_alloc",
    "inode",
    "file",
    "task_struct",
    "bpf_iter_tcp",
    "bpf_iter_task_file",
];

/// Room for a read: as much as the kernel gathers at a time (`bpf_seq_read`: 8 pages).
const BUFFER: usize = 32 * 1024;

/// What is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The holders only.
    Holders,
    /// The tables that have an iterator, too.
    HoldersAndTables,
}

/// The loaded iterators.
#[derive(Debug)]
pub struct Iterators {
    task_file: OwnedFd,
    /// Its absence is no failure: sock_diag tells as much.
    tcp: Option<OwnedFd>,
}

impl Iterators {
    /// Loads them.
    ///
    /// # Errors
    /// Why the kernel does not let us, in a few words.
    pub fn load(which: Which) -> Result<Self, String> {
        if !pidns::is_initial(&ProcRoot::default()) {
            return Err("a pid namespace of our own: the kernel's process ids are not the ones here".to_owned());
        }
        let btf = Btf::read(Path::new("/sys/kernel/btf/vmlinux"), WANTED).map_err(|error| error.to_string())?;
        let offsets = offsets::resolve(Some(&btf), None).offsets;
        if offsets.file_inode == ABSENT || offsets.inode_ino == ABSENT || offsets.task_tgid == ABSENT {
            return Err("the kernel's type information lacks files and inodes".to_owned());
        }
        memlock::lift();
        let constants = Constants::new(&offsets)?;
        let link = |section: &str, function: &str| -> Result<OwnedFd, String> {
            let id = btf.function(function).ok_or_else(|| format!("this kernel has no {section}"))?;
            let program = Program::load(section, id, &constants)?;
            call::link_create(program.as_fd()).map_err(|error| format!("{section}: {error}"))
        };
        let task_file = link("iter/task_file", "bpf_iter_task_file")?;
        let tcp = if which == Which::HoldersAndTables && has_tcp(&offsets) {
            link("iter/tcp", "bpf_iter_tcp").inspect_err(|why| log::debug!("{why}")).ok()
        } else {
            None
        };
        Ok(Self { task_file, tcp })
    }

    /// Who holds which socket: inode and process, with repetitions.
    ///
    /// # Errors
    /// Those of reading.
    pub fn holders(&self) -> io::Result<Vec<(u64, u32)>> {
        let mut pairs = Vec::new();
        read(&self.task_file, |bytes| {
            let record = HolderRecord::decode(bytes);
            pairs.push((record.inode, record.pid));
        })?;
        Ok(pairs)
    }

    /// Appends the sockets of `proto` in the namespace that this thread is in; `false` if there is no
    /// iterator for them.
    ///
    /// # Errors
    /// Those of reading; rows may have been appended.
    pub fn table(&self, proto: Proto, netns: u32, rows: &mut Vec<Row>) -> io::Result<bool> {
        let Some(tcp) = self.tcp.as_ref().filter(|_| proto == Proto::Tcp) else { return Ok(false) };
        read(tcp, |bytes| rows.push(row(&TcpRecord::decode(bytes), netns)))?;
        Ok(true)
    }
}

fn has_tcp(offsets: &Offsets) -> bool {
    [
        offsets.skc_daddr,
        offsets.skc_rcv_saddr,
        offsets.skc_dport,
        offsets.skc_num,
        offsets.skc_family,
        offsets.skc_state,
        offsets.skc_bound_dev_if,
        offsets.sk_socket,
        offsets.socket_inode,
        offsets.sk_ack_backlog,
        offsets.sk_max_ack_backlog,
        offsets.rcv_nxt,
        offsets.copied_seq,
        offsets.write_seq,
        offsets.snd_una,
        offsets.tw_substate,
    ]
    .into_iter()
    .all(|offset| offset != ABSENT)
}

/// Runs the iterator behind `link` in this thread's namespace.
fn read<const N: usize>(link: &OwnedFd, mut record: impl FnMut(&[u8; N])) -> io::Result<()> {
    let mut file = std::fs::File::from(call::iter_create(link.as_fd())?);
    let mut buffer = vec![0; BUFFER];
    let mut kept = 0;
    loop {
        let room = buffer.get_mut(kept..).unwrap_or_default();
        let n = match file.read(room) {
            Ok(0) => break,
            Ok(n) => kept + n,
            // The kernel stops after a million objects without a record, to let others run.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => continue,
            Err(error) => return Err(error),
        };
        let (whole, rest) = buffer.get(..n).unwrap_or_default().as_chunks::<N>();
        whole.iter().for_each(&mut record);
        kept = rest.len();
        buffer.copy_within(n - kept..n, 0);
    }
    if kept == 0 { Ok(()) } else { Err(io::Error::other("the last record is cut")) }
}

fn row(record: &TcpRecord, netns: u32) -> Row {
    let state = State::of_sk_state(Proto::Tcp, record.state);
    // What is left of a connection that waits for the last FIN has no user either, but sock_diag says
    // 0 for it, as it says FIN_WAIT2.
    Row {
        proto: Proto::Tcp,
        state,
        netns,
        inode: record.inode,
        cookie: None,
        uid: (state != State::TimeWait).then_some(record.uid),
        recv_q: record.recv_q,
        send_q: record.send_q,
        kind: Kind::Inet(Inet {
            family: record.family,
            laddr: record.laddr,
            lport: record.lport,
            raddr: record.raddr,
            rport: record.rport,
            ifindex: record.ifindex,
            tcp: None,
        }),
    }
}
