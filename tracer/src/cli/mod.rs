//! The command line.
pub mod value;
