//! The `queue` room.
