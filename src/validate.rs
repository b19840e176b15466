//! The `validate` room.
