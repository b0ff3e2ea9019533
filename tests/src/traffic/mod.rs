//! The subcommands of the `traffic` binary, one module each. They run in the processes whose connections the tests look
//! for.

pub mod actor;
pub mod churn;
pub mod concealed;
pub mod once;
mod ops;
pub mod storm;
pub mod stuck;
pub mod swarm;
pub mod sys;
mod uring;
