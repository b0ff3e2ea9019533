//! This process itself: the limits that its caller sets, its memory, its log, its lines for the user.

pub mod allocator;
pub mod limits;
pub mod logging;
pub mod stderr;
