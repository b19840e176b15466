//! What comes in through real sockets, case by case, with the books checked at the end of every test.

#[path = "inputs/crowds.rs"]
mod crowds;
#[path = "inputs/datagrams.rs"]
mod datagrams;
#[path = "inputs/junk.rs"]
mod junk;
#[path = "inputs/relay.rs"]
#[allow(dead_code, reason = "each of the test programs uses a part of it")]
mod relay;
#[path = "inputs/routing.rs"]
mod routing;
#[path = "inputs/streams.rs"]
mod streams;
