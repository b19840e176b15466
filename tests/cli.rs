//! The command line against a running relay: whole processes, each subcommand for real, and what it refuses.
#![allow(missing_docs)]

#[path = "cli/bed.rs"]
mod bed;
#[path = "cli/edits.rs"]
mod edits;
#[path = "cli/finds.rs"]
mod finds;
#[path = "cli/papers.rs"]
mod papers;
#[path = "cli/refusals.rs"]
mod refusals;
#[path = "inputs/relay.rs"]
#[expect(dead_code, reason = "each of the test programs uses a part of it")]
mod relay;
#[path = "cli/rules.rs"]
mod rules;
#[path = "cli/top.rs"]
mod top;
