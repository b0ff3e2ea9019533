//! What people and programs read: the stream, tables, pages, the summary; as text and as JSON.

pub mod clock;
pub mod doctor;
pub mod drops;
pub mod explain;
pub mod ink;
pub mod json;
pub mod net;
pub mod output;
mod owners;
#[cfg(test)]
mod screens;
pub mod sockets;
mod stack;
pub mod summary;
pub mod table;
pub mod terminal;
pub mod text;
pub mod why;
pub mod wrap;

pub use tracer_words::{escape, number, unit};
