//! The `handover` room.
