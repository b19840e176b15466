//! Destinations that fail in every way, through real sockets, with the books checked at the end of every test.

#[path = "destinations/fault.rs"]
mod fault;
#[path = "destinations/files.rs"]
mod files;
#[path = "destinations/full.rs"]
mod full;
#[path = "destinations/links.rs"]
mod links;
#[path = "destinations/memory.rs"]
mod memory;
#[path = "inputs/relay.rs"]
#[allow(dead_code, reason = "each of the test programs uses a part of it")]
mod relay;
