//! The `supervisor` room.
