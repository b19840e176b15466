//! Seen and asked over HTTP: by whom, on which sockets, within which limits.
#![allow(missing_docs)]

#[path = "admin/client.rs"]
mod client;
#[path = "admin/events.rs"]
mod events;
#[path = "admin/openapi.rs"]
mod openapi;
#[path = "admin/profiling.rs"]
mod profiling;
#[path = "inputs/relay.rs"]
#[expect(dead_code, reason = "each of the test programs uses a part of it")]
mod relay;
#[path = "admin/safety.rs"]
mod safety;
#[path = "admin/socket.rs"]
mod socket;
