//! Seen and asked over HTTP: by whom, on which sockets, within which limits.
#![allow(missing_docs)]

#[path = "admin/client.rs"]
mod client;
#[path = "inputs/relay.rs"]
#[expect(dead_code, reason = "each of the test programs uses a part of it")]
mod relay;
#[path = "admin/socket.rs"]
mod socket;
