//! The choice among the links of each hook ([`choose`]) and its cost ([`degradations`]).

mod choice;
mod degradation;
#[cfg(test)]
mod tests;

pub use self::{
    choice::{Choice, choose, needs_io_uring, needs_resets_for_nobody},
    degradation::{Degradation, cost_of, degradations, degradations_since, gives_drop_reasons, gives_reset_reasons},
};
pub use super::hooks::{Backend, Hook, Lack, chain};
