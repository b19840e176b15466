//! The `drill` room.
