//! One module a subcommand.
