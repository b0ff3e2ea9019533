//! Open connections, on loopback, both ends in this process.

use anyhow::{Context as _, Result, bail};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

#[derive(clap::Args)]
pub struct Args {
    /// How many connections
    count: usize,
}

/// Opens them, prints `ready`, and closes them when stdin ends.
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

/// A process that holds connections.
pub struct Holder(Child);

impl Holder {
    /// Starts one and waits until it has opened `count` connections.
    pub fn start(count: usize) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bench", "hold", &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no stdout")?).read_line(&mut line)?;
        if line != "ready\n" {
            bail!("the connections could not be opened");
        }
        Ok(Self(child))
    }

    /// Closes the connections and ends it.
    pub fn end(mut self) -> Result<()> {
        drop(self.0.stdin.take());
        self.0.wait()?;
        Ok(())
    }
}
