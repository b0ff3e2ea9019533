//! `traffic storm`: UDP datagrams to one address, as fast as possible, for a while. The caller arranges for their drop:
//! a closed port, a rule. Prints one JSON line with the number of offered datagrams.

use std::mem::zeroed;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use libc::{c_int, c_uint, mmsghdr, sockaddr_storage, socklen_t};
use serde_json::json;

use super::sys::{self, Sys};
use crate::errno;

/// Datagrams per call.
const BATCH: usize = 64;

/// The settings of a storm.
#[derive(Clone, Debug)]
pub struct Storm {
    /// The destination; the other flows go to the ports after it.
    pub to: SocketAddr,
    /// The duration.
    pub time: Duration,
    /// The number of threads.
    pub threads: usize,
    /// The number of destination ports, in turn.
    pub flows: u16,
    /// The most datagrams a second, of all threads together.
    pub rate: Option<u32>,
}

fn socket(to: &SocketAddr) -> Sys<c_int> {
    let domain = if to.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::socket(domain, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 { Err(errno::last()) } else { Ok(fd) }
}

/// Sends until the time is over; returns the number of offered datagrams. A rule on the way out refuses each datagram
/// (EPERM) after its drop: it counts, too.
fn blow(storm: &Storm) -> Sys<u64> {
    let fd = socket(&storm.to)?;
    let mut names: Vec<(sockaddr_storage, socklen_t)> = (0..usize::from(storm.flows).max(BATCH))
        .map(|n| {
            let mut to = storm.to;
            to.set_port(storm.to.port() + (n % usize::from(storm.flows)) as u16);
            sys::to_kernel(&to)
        })
        .collect();
    let mut payload = *b"storm";
    let mut part = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
    let mut messages: Vec<mmsghdr> = names
        .iter_mut()
        .map(|(name, len)| {
            // SAFETY: all zeros is a valid mmsghdr.
            let mut message: mmsghdr = unsafe { zeroed() };
            message.msg_hdr.msg_name = (&raw mut *name).cast();
            message.msg_hdr.msg_namelen = *len;
            message.msg_hdr.msg_iov = &raw mut part;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    let (mut offered, begun) = (0, Instant::now());
    while begun.elapsed() < storm.time {
        for batch in messages.chunks_mut(BATCH) {
            // SAFETY: the messages' pointers are to `names`, `part` and `payload`, which live through the call.
            let sent = unsafe { libc::sendmmsg(fd, batch.as_mut_ptr(), batch.len() as c_uint, 0) };
            match u64::try_from(sent) {
                Ok(sent) => offered += sent,
                Err(_) => match errno::last() {
                    libc::EPERM => offered += 1,
                    error => return Err(error),
                },
            }
            if let Some(rate) = storm.rate {
                let due = Duration::from_secs_f64(offered as f64 * storm.threads as f64 / f64::from(rate));
                sys::pause(due.saturating_sub(begun.elapsed()).min(storm.time));
            }
        }
    }
    sys::close(fd)?;
    Ok(offered)
}

/// Runs the storm; prints `{offered, seconds, per_second}`.
///
/// # Errors
/// The errno of the call that failed.
///
/// If a thread panics.
pub fn run(storm: &Storm) -> Sys<()> {
    let start = Instant::now();
    let offered = std::thread::scope(|scope| {
        let all: Vec<_> = (0..storm.threads).map(|_| scope.spawn(|| blow(storm))).collect();
        all.into_iter().map(|thread| thread.join().expect("a thread ends")).sum::<Sys<u64>>()
    })?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{}", json!({ "offered": offered, "seconds": seconds, "per_second": (offered as f64 / seconds).round() }));
    Ok(())
}
