//! The agent of tracer: see ARCHITECTURE.md for the picture.

pub mod cli;
pub mod command;
pub mod core;
pub mod filter;
pub mod kernel;
pub mod present;
pub mod proc;
pub mod stream;
