//! How a tuple of addresses and ports is written down.

use serde::{Deserialize, Serialize};
use tracer_common::record::Tuple;

/// [`Tuple`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Tuple")]
pub struct TupleForm {
    laddr: [u32; 4],
    raddr: [u32; 4],
    lport: u16,
    rport: u16,
    family: u8,
    reserved: [u8; 3],
    netns: u32,
    ifindex: u32,
}
