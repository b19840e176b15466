//! The table, changed while lines flow: whole processes, every line counted.
#![allow(missing_docs)]

#[path = "table/api.rs"]
mod api;
#[path = "table/flow.rs"]
mod flow;
#[path = "table/lives.rs"]
mod lives;
#[path = "inputs/relay.rs"]
#[expect(dead_code, reason = "each of the test programs uses a part of it")]
mod relay;
