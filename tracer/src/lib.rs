//! The agent of tracer: see ARCHITECTURE.md for the picture.

pub mod proc;
pub mod stream;
