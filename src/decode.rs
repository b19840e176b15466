//! Bytes to lines, and lines to fields. Pure: fed slices, no sockets, so every cut of a stream can be tested by value.

pub mod frames;
pub mod line;
pub mod pickle;
pub mod shortest;
pub mod split;
