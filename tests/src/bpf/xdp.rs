//! An XDP program that drops every frame of a device.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd as _, FromRawFd as _};

use super::{PROG_LOAD, bpf, halves};
use crate::errno;
use crate::netns::Netns;
use crate::skip::lacks;

const LINK_CREATE: u32 = 28;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;

/// The place of a program: `XDP_FLAGS_SKB_MODE` and `XDP_FLAGS_DRV_MODE` of `include/uapi/linux/if_link.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum XdpMode {
    /// After the driver, on any device.
    Generic = 1 << 1,
    /// In the driver.
    Driver = 1 << 2,
}

/// A program that stays attached until this is dropped.
#[derive(Debug)]
pub struct XdpDrop {
    program: File,
    _link: File,
}

impl XdpDrop {
    /// Attaches the program to `device` in `netns`.
    ///
    /// # Errors
    /// The reason to skip.
    pub fn attach(netns: &Netns, device: &str, mode: XdpMode) -> Result<Self, String> {
        let why = |call: &str, e| lacks("XDP links", format!("{call}: {}", errno::name(e)));
        // return XDP_DROP;
        let code: [u64; 2] = [0xb7 | 1 << 32, 0x95];
        let [c0, c1] = halves(code.as_ptr() as u64);
        let [l0, l1] = halves(c"GPL".as_ptr() as u64);
        let mut load = [0_u32; 19];
        load[..6].copy_from_slice(&[PROG_TYPE_XDP, code.len() as u32, c0, c1, l0, l1]);
        // expected_attach_type
        load[17] = ATTACH_XDP;
        let program = bpf(PROG_LOAD, &load).map_err(|e| why("BPF_PROG_LOAD", e))?;
        // SAFETY: the descriptor was just made.
        let program = unsafe { File::from_raw_fd(program) };
        let name = CString::new(device).expect("a name without zeros");
        let link = netns.within(|| {
            // SAFETY: the name is a C string.
            let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
            bpf(LINK_CREATE, &[program.as_raw_fd() as u32, index, ATTACH_XDP, mode as u32])
        });
        let link = link.map_err(|e| why("BPF_LINK_CREATE", e))?;
        // SAFETY: as above.
        let link = unsafe { File::from_raw_fd(link) };
        Ok(Self { program, _link: link })
    }

    /// The program's number.
    ///
    /// # Panics
    /// If the kernel gives no answer.
    #[must_use]
    pub fn number(&self) -> u32 {
        let about = std::fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", self.program.as_raw_fd()));
        let about = about.expect("the kernel tells of a descriptor");
        let number = about.lines().find_map(|line| line.strip_prefix("prog_id:"));
        number.and_then(|number| number.trim().parse().ok()).expect("a program has a number")
    }
}
