//! Numbers, durations and other processes' text, as people read them in a terminal.

pub mod escape;
pub mod number;
pub mod time;
pub mod unit;
