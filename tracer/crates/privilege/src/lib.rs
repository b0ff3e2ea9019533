//! Limits the privileges of the threads of a running trace.
//!
//! A trace needs nearly every right while it starts: to load programs, to attach them, to make maps.
//! Afterwards it reads /proc, the maps of its programs, and the tables of namespaces; and other processes
//! choose much of that data. So each thread gives up what its duty does not need: capabilities
//! ([`capabilities`]), the gain of new ones by execve() (`no_new_privs`), and all system calls but the
//! listed ones ([`system_calls`]). All three belong to a thread, and new threads inherit them.
//!
//! Threads are no barrier against code that runs in the process: they share memory. The whole process is
//! limited only by the system calls that no duty has: execve(), ptrace(), opening a file for writing,
//! sockets other than netlink, loading a module or a BPF program.

pub mod capabilities;
pub mod missing;
pub mod system_calls;

use std::{io, sync::Once};

use log::warn;
use rustix::thread::CapabilitySet;
use seccompiler::BpfProgram;

pub use system_calls::Duty;

/// Whether threads give up unneeded privileges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// They give them up.
    #[default]
    On,
    /// They keep everything (`--no-sandbox`).
    Off,
}

/// Why a thread keeps more privileges than it should.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// Capabilities.
    #[error("cannot give up capabilities: {0}")]
    Capabilities(#[source] io::Error),
    /// `no_new_privs`.
    #[error("cannot set no_new_privs: {0}")]
    NoNewPrivs(#[source] io::Error),
    /// No filter exists for this machine.
    #[error("cannot make a filter of system calls: {0}")]
    Filter(#[source] seccompiler::BackendError),
    /// The kernel refuses the filter.
    #[error("cannot filter system calls (seccomp): {0}")]
    Seccomp(#[source] io::Error),
}

impl Sandbox {
    /// Limits the calling thread to the capabilities in `kept`, as far as it has them, and to the system
    /// calls of `duty`. Warns once on failure, and the trace goes on: that is no worse than no sandbox.
    pub fn confine(self, duty: Duty, kept: CapabilitySet) {
        static SAID: Once = Once::new();
        if self == Self::Off {
            return;
        }
        let steps: [&dyn Fn() -> Result<(), PrivilegeError>; 3] = [
            &|| capabilities::keep(kept).map_err(PrivilegeError::Capabilities),
            &|| {
                let set = rustix::thread::set_no_new_privs(true);
                set.map_err(|error| PrivilegeError::NoNewPrivs(error.into()))
            },
            // The banner reports a kernel without seccomp.
            &|| if has_seccomp() { filter(duty) } else { Ok(()) },
        ];
        // Each step works even if an earlier one failed.
        for error in steps.into_iter().filter_map(|step| step().err()) {
            SAID.call_once(|| warn!("{error}: the trace goes on with more rights than it needs"));
        }
    }
}

/// Limits the calling thread to the system calls of `duty`.
fn filter(duty: Duty) -> Result<(), PrivilegeError> {
    let program = system_calls::program(duty).map_err(PrivilegeError::Filter)?;
    apply(&program).map_err(PrivilegeError::Seccomp)
}

/// Like `seccompiler::apply_filter`, with a flag that it lacks: without the flag, before 5.16, the kernel
/// takes a filter for a request to run without speculative stores, which slows the whole thread.
fn apply(program: &BpfProgram) -> io::Result<()> {
    #[repr(C)]
    struct Program {
        length: libc::c_ushort,
        instructions: *const seccompiler::sock_filter,
    }
    let length = program.len().try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = Program { length, instructions: program.as_ptr() };
    // SAFETY: a `struct sock_fprog` with the number of instructions that are readable there.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            &raw const program,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether the kernel can filter system calls.
#[must_use]
pub fn has_seccomp() -> bool {
    let action = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the action is readable; nothing is changed.
    unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) == 0 }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
