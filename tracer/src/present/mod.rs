//! Presenters of the stream: JSON for programs, text for people.

pub mod clock;
pub mod drops;
pub mod json;
pub mod net;
pub mod output;
mod owners;
pub mod queue;
pub mod sockets;
mod stack;
pub mod summary;
pub mod text;

pub use tracer_words::{escape, number, unit};
