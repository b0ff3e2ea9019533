//! The agent of tracer: see ARCHITECTURE.md for the picture.

pub mod core;
pub mod kernel;
pub mod proc;
pub mod stream;
