//! `traffic once ADDR LEN`: a process that lives for some milliseconds: connects, sends, exits.

use std::net::SocketAddr;

use serde_json::json;

use super::{actor, ops, sys};
use crate::errno;

/// Connects to `addr`, sends `len` bytes and leaves the close to the end of the process. Prints one line about the
/// result.
///
/// # Errors
/// The errno of the call that failed.
pub fn run(addr: SocketAddr, len: usize) -> Result<(), i32> {
    let fd = sys::socket(if addr.is_ipv6() { 6 } else { 4 }, 0, false)?;
    let result = sys::connect(fd, &addr, None);
    let local = sys::address(fd, false).ok().map(|a| a.to_string());
    let (sent, _) = if result.is_ok() { ops::send_all(fd, len) } else { (0, None) };
    println!(
        "{}",
        json!({ "who": actor::who(), "local": local, "peer": addr.to_string(), "tx": sent,
                           "errno": result.err().map(errno::name) })
    );
    Ok(())
}
