//! Telnet sessions: whole processes, real sockets, every byte counted.
#![allow(missing_docs)]

#[path = "telnet/client.rs"]
mod client;
#[path = "telnet/commands.rs"]
mod commands;
#[path = "telnet/limits.rs"]
mod limits;
#[path = "inputs/relay.rs"]
#[expect(dead_code, reason = "each of the test programs uses a part of it")]
mod relay;
#[path = "telnet/restarts.rs"]
mod restarts;
