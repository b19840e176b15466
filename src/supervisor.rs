//! The `supervisor` room.
pub mod machine;
