//! The BPF iterators of `tracer sockets`: the kernel's tables, as records.
//!
//! Loaded by a small loader of our own: aya's wants all of the kernel's type information as objects
//! to find one number in it, and makes every map of the object. That takes longer than all the rest
//! of the command.

mod call;
mod description;
mod holders;
mod program;

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use tracer_common::iterator::TcpRecord;
use tracer_common::settings::{ABSENT, Offsets};

use super::btf::{Btf, BtfError};
use super::{memlock, offsets};
use crate::proc::pidns;
use crate::proc::root::ProcRoot;
use crate::sockets::proto::{Proto, State};
use crate::sockets::row::{Inet, Kind, Row};
use holders::Holders;
use program::Constants;

/// What the offsets of the iterators over holders and their own types are found by. They stand in the
/// first half of a kernel's types.
const HOLDERS: (&[&str], &[&str]) = (
    &["file", "inode", "socket_alloc", "task_struct", "files_struct", "fdtable"],
    &["bpf_iter_task", "bpf_iter_task_file"],
);
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
    "files_struct",
    "fdtable",
    "bpf_iter_tcp",
    "bpf_iter_task",
    "bpf_iter_task_file",
];

/// Room for a read: as much as the kernel gathers at a time (`bpf_seq_read`: 8 pages).
const BUFFER: usize = 32 * 1024;

/// A socket's inode and a process that holds it.
pub type Pair = (u64, u32);

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
    holders: Holders,
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
        let (btf, offsets) = types(which)?;
        memlock::lift();
        let holders = Holders::load(&btf, Constants::new(&offsets)?)?;
        let tcp = if which == Which::HoldersAndTables && has_tcp(&offsets) {
            let tcp = holders::link("iter/tcp", btf.function("bpf_iter_tcp"), holders.constants());
            tcp.inspect_err(|why| log::debug!("{why}")).ok()
        } else {
            None
        };
        Ok(Self { holders, tcp })
    }

    /// Who holds which socket: inode and process, with repetitions, and how that was found out.
    ///
    /// # Errors
    /// Those of reading, in a few words.
    pub fn holders(&self) -> Result<(Vec<Pair>, &'static str), String> {
        self.holders.pairs()
    }

    /// Gives the sockets of `proto` in the namespace that this thread is in to `each`; `false` if there is no
    /// iterator for them.
    ///
    /// # Errors
    /// Those of reading; rows may have been given.
    pub fn table(&self, proto: Proto, netns: u32, mut each: impl FnMut(Row)) -> io::Result<bool> {
        let Some(tcp) = self.tcp.as_ref().filter(|_| proto == Proto::Tcp) else { return Ok(false) };
        read(tcp, |bytes| each(row(&TcpRecord::decode(bytes), netns)))?;
        Ok(true)
    }
}

/// The kernel's types, as far as they are needed, and the offsets in them.
fn types(which: Which) -> Result<(Btf, Offsets), String> {
    let path = Path::new("/sys/kernel/btf/vmlinux");
    let resolved = |btf: Result<Btf, BtfError>| {
        let btf = btf.map_err(|error| error.to_string())?;
        let offsets = offsets::resolve(Some(&btf), None).offsets;
        Ok::<_, String>((btf, offsets))
    };
    let has_holders = |offsets: &Offsets| {
        [
            offsets.file_inode,
            offsets.file_private_data,
            offsets.socket_inode,
            offsets.inode_ino,
            offsets.inode_mode,
            offsets.task_tgid,
            offsets.task_pid,
            offsets.task_group_leader,
            offsets.task_files,
            offsets.files_fdt,
            offsets.fdt_fd,
            offsets.fdt_max_fds,
        ]
        .into_iter()
        .all(|offset| offset != ABSENT)
    };
    if which == Which::Holders {
        let (structs, functions) = HOLDERS;
        let early = resolved(Btf::read_until(path, structs, functions))?;
        if has_holders(&early.1) {
            return Ok(early);
        }
        // A member may be in a structure without a name, which stands anywhere.
    }
    let whole = resolved(Btf::read(path, WANTED))?;
    if has_holders(&whole.1) {
        Ok(whole)
    } else {
        Err("the kernel's type information lacks files and inodes".to_owned())
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
