//! Baton, a relay for Graphite metric streams that outlives its own process.

// Level 0: the operating system and time.
pub mod logging;
pub mod sys;

// Level 1: pure rooms, and what two processes share.
pub mod decode;
pub mod handover;
pub mod ledger;
pub mod metrics;
pub mod queue;
pub mod route;
pub mod validate;

// Level 2: the line that a metric walks.
pub mod pipeline;
pub mod spec;

// Level 3: the edges.
pub mod admin;
pub mod destination;
pub mod gate;
pub mod intake;
pub mod listen;

// Level 4 and up: putting it together.
pub mod config;
pub mod drill;
pub mod supervisor;
pub mod worker;

pub mod cli;
