//! One module a subcommand.

pub mod completions;
pub mod man;
