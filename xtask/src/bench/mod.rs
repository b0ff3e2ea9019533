//! `cargo xtask bench`: measures tracer next to its peers, in one run. Only the ratios count.

mod drops;
mod hold;
mod live;
mod peer;
mod sockets;
mod statistics;

pub use self::live::build_traffic;

use anyhow::Result;
use clap::Subcommand;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// tracer live beside tcplife and tcpstates: kernel time per event, slowdown, start, memory
    Live(live::Args),
    /// tracer live beside bpftrace in a storm of dropped packets: kernel time per drop, slowdown, own CPU
    Drops(drops::Args),
    /// tracer sockets beside ss and lsof: time, memory, growth
    Sockets(sockets::Args),
    /// Hold connections open until stdin closes (used by the others)
    #[command(hide = true)]
    Hold(hold::Args),
}

pub fn main(args: &Args) -> Result<()> {
    match &args.what {
        What::Live(args) => live::main(args),
        What::Drops(args) => drops::main(args),
        What::Sockets(args) => sockets::main(args),
        What::Hold(args) => hold::main(args),
    }
}
