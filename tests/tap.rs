//! What flows, seen live: whole processes. No metric is slowed, and what is lost is told to the line.
#![allow(missing_docs)]

#[path = "tap/charts.rs"]
mod charts;
#[path = "tap/client.rs"]
mod client;
#[path = "tap/points.rs"]
mod points;
#[path = "inputs/relay.rs"]
#[expect(dead_code, reason = "each of the test programs uses a part of it")]
mod relay;
#[path = "tap/restarts.rs"]
mod restarts;
#[path = "tap/slow.rs"]
mod slow;
#[path = "tap/websocket.rs"]
mod websocket;
