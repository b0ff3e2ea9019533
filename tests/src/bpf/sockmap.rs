//! A map of sockets with a program that passes data from one to another past TCP.

use std::fs::File;
use std::net::TcpStream;
use std::os::fd::{AsRawFd as _, FromRawFd as _};

use super::{PROG_ATTACH, PROG_LOAD, bpf, halves};
use crate::errno;
use crate::skip::lacks;

const MAP_CREATE: u32 = 0;
const MAP_UPDATE: u32 = 2;
const MAP_TYPE_SOCKMAP: u32 = 15;
const PROG_TYPE_SK_MSG: u32 = 16;
const SK_MSG_VERDICT: u32 = 7;

/// Data sent by any socket in it arrives at the one in the first place, whatever its peer: that one's own payload, too.
#[derive(Debug)]
pub struct Sockmap {
    map: File,
}

/// One instruction.
const fn instruction(opcode: u8, destination: u8, source: u8, immediate: u32) -> u64 {
    opcode as u64 | (destination as u64 | (source as u64) << 4) << 8 | (immediate as u64) << 32
}

impl Sockmap {
    /// Makes the map.
    ///
    /// # Errors
    /// The reason to skip.
    pub fn new() -> Result<Self, String> {
        let why = |call: &str, e| lacks("sockmap", format!("{call}: {}", errno::name(e)));
        let map = bpf(MAP_CREATE, &[MAP_TYPE_SOCKMAP, 4, 4, 2]).map_err(|e| why("BPF_MAP_CREATE", e))?;
        // SAFETY: the descriptor was just made.
        let map = unsafe { File::from_raw_fd(map) };
        // return bpf_msg_redirect_map(msg, map, 0, BPF_F_INGRESS);
        let code = [
            instruction(0x18, 2, 1, map.as_raw_fd() as u32),
            0,
            instruction(0xb7, 3, 0, 0),
            instruction(0xb7, 4, 0, 1),
            instruction(0x85, 0, 0, 60),
            instruction(0x95, 0, 0, 0),
        ];
        let [c0, c1] = halves(code.as_ptr() as u64);
        let [l0, l1] = halves(c"GPL".as_ptr() as u64);
        let program = bpf(PROG_LOAD, &[PROG_TYPE_SK_MSG, code.len() as u32, c0, c1, l0, l1])
            .map_err(|e| why("BPF_PROG_LOAD", e))?;
        let attached = bpf(PROG_ATTACH, &[map.as_raw_fd() as u32, program as u32, SK_MSG_VERDICT, 0]);
        // SAFETY: the descriptor was just made; the map holds the program from here on.
        unsafe { libc::close(program) };
        attached.map_err(|e| why("BPF_PROG_ATTACH", e))?;
        Ok(Self { map })
    }

    /// Puts a socket into the place `key`.
    ///
    /// # Panics
    /// If the kernel refuses it.
    pub fn put(&self, key: u32, socket: &TcpStream) {
        let value = socket.as_raw_fd() as u32;
        let [k0, k1] = halves(std::ptr::from_ref(&key) as u64);
        let [v0, v1] = halves(std::ptr::from_ref(&value) as u64);
        let taken = bpf(MAP_UPDATE, &[self.map.as_raw_fd() as u32, 0, k0, k1, v0, v1, 0, 0]);
        taken.map_err(errno::name).expect("the map takes the socket");
    }
}
