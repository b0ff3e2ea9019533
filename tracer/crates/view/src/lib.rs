//! What people and programs read: the stream, tables, pages, the summary; as text and as JSON.

pub mod clock;
pub mod drops;
pub mod json;
pub mod net;
pub mod output;
mod owners;
pub mod sockets;
mod stack;
pub mod summary;
pub mod text;

pub use tracer_words::{escape, number, unit};
