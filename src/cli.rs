//! The `cli` room.

pub mod drill;
