//! The `destination` room.
