//! `traffic swarm`: short-lived processes in large numbers; some of them connect. Prints a line about each of these.

use std::io::Read as _;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, RawFd};

use super::sys::{self, Sys};
use crate::errno;

/// Number of processes that are alive at the same time.
const ALIVE: u32 = 50;

/// The settings of a swarm.
#[derive(Clone, Copy, Debug)]
pub struct Swarm {
    /// The number of processes.
    pub processes: u32,
    /// The destination of those that connect.
    pub to: SocketAddr,
    /// One process in this number connects.
    pub every: u32,
}

/// Clock ticks since boot at which the calling process started.
fn start_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace().nth(19).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Connects, and writes process, port and start to `told`.
fn connect(to: &SocketAddr, told: RawFd) -> Sys<()> {
    let fd = sys::socket(if to.is_ipv6() { 6 } else { 4 }, 0, false)?;
    sys::connect(fd, to, None)?;
    let line = format!("{} {} {}\n", std::process::id(), sys::address(fd, false)?.port(), start_ticks());
    // SAFETY: the pointer and length describe `line`. A line goes into a pipe at once.
    unsafe { libc::write(told, line.as_ptr().cast(), line.len()) };
    Ok(())
}

fn fork(number: u32, swarm: &Swarm, told: RawFd) -> Sys<libc::pid_t> {
    // SAFETY: the only other thread reads a pipe, and holds no lock that the child needs (glibc resets malloc's).
    let child = unsafe { libc::fork() };
    if child == 0 {
        let failed = number.is_multiple_of(swarm.every) && connect(&swarm.to, told).is_err();
        // SAFETY: ends the child without running the parent's exit handlers; the kernel closes its socket.
        unsafe { libc::_exit(i32::from(failed)) };
    }
    if child < 0 { Err(errno::last()) } else { Ok(child) }
}

/// Runs the swarm; prints a line `PID PORT START_TICKS` for each process that has connected.
///
/// # Errors
/// The errno of the call that failed.
///
/// # Panics
/// If a process could not connect.
pub fn run(swarm: &Swarm) -> Sys<()> {
    let (mut reader, writer) = std::io::pipe().map_err(|e| sys::errno_of(&e))?;
    let lines = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    let mut number = 0;
    while number < swarm.processes {
        let most = (number + ALIVE).min(swarm.processes);
        let alive = (number..most).map(|number| fork(number, swarm, writer.as_raw_fd())).collect::<Sys<Vec<_>>>()?;
        for child in alive {
            let mut status = 0;
            // SAFETY: a child of this process, and a live local.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert_eq!(status, 0, "process {child} connects");
        }
        number = most;
    }
    drop(writer);
    let text = lines.join().expect("the reader ends").map_err(|e| sys::errno_of(&e))?;
    print!("{text}");
    Ok(())
}
