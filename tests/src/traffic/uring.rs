//! connect() and accept() through io_uring, without a system call of that name.

use std::net::SocketAddr;

use io_uring::{IoUring, opcode, squeue, types};
use libc::c_int;

use super::sys::{self, Sys};

fn submit(entry: &squeue::Entry) -> Sys<c_int> {
    let mut ring = IoUring::new(4).map_err(|e| sys::errno_of(&e))?;
    // SAFETY: the memory that the entry points to lives in the caller until the completion has come.
    unsafe { ring.submission().push(entry) }.map_err(|_| libc::EAGAIN)?;
    ring.submit_and_wait(1).map_err(|e| sys::errno_of(&e))?;
    let result = ring.completion().next().map_or(-libc::EAGAIN, |completion| completion.result());
    if result < 0 { Err(-result) } else { Ok(result) }
}

fn punted(entry: squeue::Entry, worker: bool) -> squeue::Entry {
    if worker { entry.flags(squeue::Flags::ASYNC) } else { entry }
}

/// Connects; in a kernel worker thread of this process if `worker`.
pub fn connect(fd: c_int, addr: &SocketAddr, worker: bool) -> Sys<c_int> {
    let (storage, len) = sys::to_kernel(addr);
    let entry = opcode::Connect::new(types::Fd(fd), (&raw const storage).cast(), len).build();
    submit(&punted(entry, worker))
}

/// Accepts; in a kernel worker thread of this process if `worker`. Returns the new descriptor.
pub fn accept(fd: c_int, worker: bool) -> Sys<c_int> {
    let entry = opcode::Accept::new(types::Fd(fd), std::ptr::null_mut(), std::ptr::null_mut()).build();
    submit(&punted(entry, worker))
}

/// Accepts `count` connections by one multishot request.
///
/// # Errors
/// The errno of a call or of the request.
pub fn accept_many(fd: c_int, count: usize) -> Sys<Vec<c_int>> {
    let mut ring = IoUring::new(4).map_err(|e| sys::errno_of(&e))?;
    let entry = opcode::AcceptMulti::new(types::Fd(fd)).build();
    // SAFETY: the entry points to nothing.
    unsafe { ring.submission().push(&entry) }.map_err(|_| libc::EAGAIN)?;
    let mut accepted = Vec::new();
    while accepted.len() < count {
        ring.submit_and_wait(1).map_err(|e| sys::errno_of(&e))?;
        for completion in ring.completion() {
            let result = completion.result();
            if result < 0 {
                return Err(-result);
            }
            accepted.push(result);
        }
    }
    Ok(accepted)
}
