//! Open connections, on loopback, both ends in this process.

use anyhow::{Context as _, Result};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

#[derive(clap::Args)]
pub struct Args {
    /// How many connections
    count: usize,
}

/// Opens them, says `ready`, and closes them when stdin ends.
pub fn main(args: &Args) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let addr = listener.local_addr()?;
    let mut held = Vec::with_capacity(args.count * 2);
    for number in 0..args.count {
        let client = TcpStream::connect(addr).with_context(|| format!("connection {number}"))?;
        held.push((client, listener.accept()?.0));
    }
    println!("ready");
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
