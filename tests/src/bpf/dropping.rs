//! BPF programs that drop every packet: at a device (XDP, tcx), or of the sockets of a control group.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::path::Path;

use super::{PROG_LOAD, bpf, halves};
use crate::errno;
use crate::netns::Netns;
use crate::skip::lacks;

const LINK_CREATE: u32 = 28;
const PROG_TYPE_SCHED_CLS: u32 = 3;
const PROG_TYPE_XDP: u32 = 6;
const PROG_TYPE_CGROUP_SKB: u32 = 8;
const CGROUP_INET_INGRESS: u32 = 0;
const CGROUP_INET_EGRESS: u32 = 1;
const ATTACH_XDP: u32 = 37;
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;
/// `XDP_DROP`, `TC_ACT_SHOT`, and the "no" of a control group's program.
const XDP_DROP: u64 = 1;
const TC_ACT_SHOT: u64 = 2;
const NO: u64 = 0;

/// The place of a program at a device. The numbers are `XDP_FLAGS_SKB_MODE` and `XDP_FLAGS_DRV_MODE` of
/// `include/uapi/linux/if_link.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// XDP after the driver, on any device.
    XdpGeneric,
    /// XDP in the driver.
    XdpDriver,
    /// tcx, for packets that come in.
    TcxIngress,
    /// tcx, for packets that go out.
    TcxEgress,
}

/// The packets of a control group's sockets that a program drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Those that come in.
    Ingress,
    /// Those that go out.
    Egress,
}

/// A program that stays attached until this is dropped.
#[derive(Debug)]
pub struct Dropping {
    program: File,
    _link: File,
}

/// The name of each program.
pub const NAME: &str = "drops_all";

fn load(kind: u32, attach_type: u32, verdict: u64, feature: &str) -> Result<File, String> {
    // return verdict;
    let code: [u64; 2] = [0xb7 | verdict << 32, 0x95];
    let [c0, c1] = halves(code.as_ptr() as u64);
    let [l0, l1] = halves(c"GPL".as_ptr() as u64);
    let mut load = [0_u32; 19];
    load[..6].copy_from_slice(&[kind, code.len() as u32, c0, c1, l0, l1]);
    for (at, four) in NAME.as_bytes().chunks(4).enumerate() {
        let mut word = [0; 4];
        word[..four.len()].copy_from_slice(four);
        // prog_name
        load[12 + at] = u32::from_ne_bytes(word);
    }
    // expected_attach_type
    load[17] = attach_type;
    let program = bpf(PROG_LOAD, &load).map_err(|e| lacks(feature, format!("BPF_PROG_LOAD: {}", errno::name(e))))?;
    // SAFETY: the descriptor was just made.
    Ok(unsafe { File::from_raw_fd(program) })
}

fn link(program: &File, target: u32, attach_type: u32, flags: u32, feature: &str) -> Result<File, String> {
    let link = bpf(LINK_CREATE, &[program.as_raw_fd() as u32, target, attach_type, flags])
        .map_err(|e| lacks(feature, format!("BPF_LINK_CREATE: {}", errno::name(e))))?;
    // SAFETY: the descriptor was just made.
    Ok(unsafe { File::from_raw_fd(link) })
}

impl Dropping {
    /// Attaches a program to `device` in `netns`.
    ///
    /// # Errors
    /// The reason to skip.
    ///
    /// # Panics
    /// If the name of the device has a zero.
    pub fn at(netns: &Netns, device: &str, at: At) -> Result<Self, String> {
        let (kind, verdict, attach_type, flags, feature) = match at {
            At::XdpGeneric => (PROG_TYPE_XDP, XDP_DROP, ATTACH_XDP, 1 << 1, "XDP links"),
            At::XdpDriver => (PROG_TYPE_XDP, XDP_DROP, ATTACH_XDP, 1 << 2, "XDP links"),
            At::TcxIngress => (PROG_TYPE_SCHED_CLS, TC_ACT_SHOT, TCX_INGRESS, 0, "tcx"),
            At::TcxEgress => (PROG_TYPE_SCHED_CLS, TC_ACT_SHOT, TCX_EGRESS, 0, "tcx"),
        };
        let program = load(kind, attach_type, verdict, feature)?;
        let name = CString::new(device).expect("a name without zeros");
        let link = netns.within(|| {
            // SAFETY: the name is a C string.
            let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
            link(&program, index, attach_type, flags, feature)
        })?;
        Ok(Self { program, _link: link })
    }

    /// Attaches a program to the control group (version 2) with this directory.
    ///
    /// # Errors
    /// The reason to skip.
    pub fn of(group: &Path, of: Of) -> Result<Self, String> {
        let attach_type = match of {
            Of::Ingress => CGROUP_INET_INGRESS,
            Of::Egress => CGROUP_INET_EGRESS,
        };
        let feature = "cgroup/skb";
        let program = load(PROG_TYPE_CGROUP_SKB, attach_type, NO, feature)?;
        let group = File::open(group).map_err(|e| lacks("cgroup2", e))?;
        let link = link(&program, group.as_raw_fd() as u32, attach_type, 0, feature)?;
        Ok(Self { program, _link: link })
    }

    /// The program's number.
    ///
    /// # Panics
    /// If the kernel gives no answer.
    #[must_use]
    pub fn number(&self) -> u32 {
        let about = std::fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", self.program.as_raw_fd()));
        let about = about.expect("the kernel describes an open descriptor");
        let number = about.lines().find_map(|line| line.strip_prefix("prog_id:"));
        number.and_then(|number| number.trim().parse().ok()).expect("a program has a number")
    }
}
