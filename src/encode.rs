//! Lines to what isn't lines: bytes for receivers that speak another protocol. Pure: what a frame looks like depends on its lines
//! alone, so a successor makes the same one again.

pub mod pickle;
