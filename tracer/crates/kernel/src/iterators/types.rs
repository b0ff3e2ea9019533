//! The types of the running kernel that the iterators need.

use std::path::Path;

use tracer_common::iterator::Connections;
use tracer_common::settings::{ABSENT, Offsets};

use super::program::{Constants, Plain};
use crate::btf::{Btf, BtfError};
use crate::offsets;

/// The structures with the needed offsets. They come in the first half of a kernel's types.
const STRUCTURES: &[&str] = &[
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
    "net",
    "nsproxy",
    "inet_hashinfo",
    WINDOW,
];
/// The functions that iterators are attached to, and those that they call.
const FUNCTIONS: &[&str] = &["bpf_iter_task", "bpf_iter_task_file", "bpf_iter_bpf_map_elem", RDONLY_CAST];
/// A structure that begins with a number of eight bytes: a register.
const WINDOW: &str = "pt_regs";
const RDONLY_CAST: &str = "bpf_rdonly_cast";

/// The needed types of the kernel, and their offsets.
#[derive(Debug)]
pub(super) struct Types {
    pub(super) btf: Btf,
    offsets: Offsets,
}

impl Types {
    /// Reads the types.
    ///
    /// # Errors
    /// The reason for a failure, in a few words.
    pub(super) fn read() -> Result<Self, String> {
        let path = Path::new("/sys/kernel/btf/vmlinux");
        let early = Self::of(Btf::read_until(path, STRUCTURES, FUNCTIONS))?;
        // Without plain loads, because a function is missing, the first attempt has read everything.
        if early.has_holders() && (early.plain().is_none() || early.connections(1).is_some()) {
            return Ok(early);
        }
        // A member may be in an anonymous structure, which may come anywhere.
        let whole = Self::of(Btf::read(path, &[STRUCTURES, FUNCTIONS].concat()))?;
        if whole.has_holders() {
            Ok(whole)
        } else {
            Err("the kernel's type information lacks files and inodes".to_owned())
        }
    }

    fn of(btf: Result<Btf, BtfError>) -> Result<Self, String> {
        let btf = btf.map_err(|error| error.to_string())?;
        let offsets = offsets::resolve(Some(&btf), None).offsets;
        Ok(Self { btf, offsets })
    }

    /// The read-only data of the programs, with `connections`.
    ///
    /// # Errors
    /// If the kernel refuses them.
    pub(super) fn constants(&self, connections: Option<&Connections>) -> Result<Constants, String> {
        Constants::new(&self.offsets, self.plain(), connections)
    }

    /// The types that plain loads need; `None` before 6.2.
    pub(super) fn plain(&self) -> Option<Plain> {
        let begins = self.btf.member(WINDOW, "r15").is_some_and(|register| register.byte_offset() == 0);
        let window = self.btf.structure(WINDOW).filter(|_| begins)?;
        Some(Plain { window, rdonly_cast: self.btf.function(RDONLY_CAST)? })
    }

    fn has_holders(&self) -> bool {
        let offsets = &self.offsets;
        has_all(&[
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
        ])
    }

    fn has_connections(&self) -> bool {
        let offsets = &self.offsets;
        has_all(&[
            offsets.skc_daddr,
            offsets.skc_rcv_saddr,
            offsets.skc_dport,
            offsets.skc_num,
            offsets.skc_family,
            offsets.skc_state,
            offsets.skc_bound_dev_if,
            offsets.sk_socket,
            offsets.socket_inode,
            offsets.rcv_nxt,
            offsets.copied_seq,
            offsets.write_seq,
            offsets.snd_una,
            offsets.tw_substate,
        ])
    }

    /// The constants of the program that reads the table of connections in `parts` parts; `None` if an offset is
    /// missing.
    pub(super) fn connections(&self, parts: u32) -> Option<Connections> {
        let offsets = &self.offsets;
        let has_all_of_them =
            has_all(&[offsets.skc_v6_daddr, offsets.skc_v6_rcv_saddr, offsets.skc_net, offsets.net_inum]);
        let find = |structure, path| self.btf.member(structure, path).map(|member| member.byte_offset());
        let known = Connections {
            parts,
            task_nsproxy: find("task_struct", "nsproxy")?,
            nsproxy_net_ns: find("nsproxy", "net_ns")?,
            net_hashinfo: find("net", "ipv4.tcp_death_row.hashinfo")?,
            hashinfo_ehash: find("inet_hashinfo", "ehash")?,
            hashinfo_ehash_mask: find("inet_hashinfo", "ehash_mask")?,
            hashinfo_pernet: find("inet_hashinfo", "pernet")?,
            skc_hash: find("sock_common", "skc_hash")?,
            skc_nulls_node: find("sock_common", "skc_nulls_node")?,
            skc_refcnt: find("sock_common", "skc_refcnt")?,
            sk_uid: find("sock", "sk_uid")?,
        };
        (has_all_of_them && self.has_connections()).then_some(known)
    }
}

fn has_all(offsets: &[u32]) -> bool {
    !offsets.contains(&ABSENT)
}
