//! `traffic storm` sends datagrams in large numbers, and the kernel drops each.

use std::process::{Child, Stdio};

use crate::generator::traffic;
use crate::netns::Netns;

/// The datagrams of one storm: from `127.0.0.1` to itself.
#[derive(Clone, Copy, Debug)]
pub struct Storm<'a> {
    /// The duration.
    pub seconds: &'a str,
    /// The number of threads.
    pub threads: u8,
    /// The number of destination ports.
    pub flows: u16,
}

impl Storm<'_> {
    /// Starts it in `netns`; the generator prints its report when it ends ([`crate::churn::said`]).
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(&self, netns: &Netns) -> Child {
        let (threads, flows) = (self.threads.to_string(), self.flows.to_string());
        let mut storm = traffic(netns);
        storm.args(["storm", "--to", "127.0.0.1:9000", "--seconds", self.seconds]);
        storm.args(["--threads", &threads, "--flows", &flows]);
        storm.stdout(Stdio::piped()).spawn().expect("the storm starts")
    }
}
