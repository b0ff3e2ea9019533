//! The agent of tracer: see ARCHITECTURE.md for the picture.

pub mod cli;
pub mod command;
pub mod filter;
pub mod present;
pub mod stream;
