//! The `spec` room.
