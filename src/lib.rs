//! Baton, a relay for Graphite metric streams that outlives its own process.
//!
//! ```text
//! gate → listen → decode → validate → blocklist → route → intake → queue → destination
//!                          └────── pipeline ───────┘
//! ```
//!
//! A thread passes the `gate`, reads a socket (`listen`) and finds whole lines (`decode`). The `pipeline` judges them
//! (`validate`) and finds who takes them (`route`). `intake` copies them to the rings of their destinations (`queue`) and
//! commits them with their counters and the offset of their stream (`ledger`). A `destination` sends from its ring and
//! lets go of what the peer has acknowledged.
//!
//! All of that is in a `worker`, which owns nothing that can't be taken from it: the `supervisor` holds the sockets, the
//! rings and the ledger as well, and hands them to the next worker (`handover`), after a reload and after a crash.
//!
//! The rooms stand in the order in which a metric walks them, then what is around. A room imports only rooms of
//! lower levels; `tests/house/rules.rs` has the levels, ARCHITECTURE.md the reasons.

// From a socket to whole lines.
pub mod gate;
pub mod listen;

// What a line is, and whether it may pass.
pub mod decode;
pub mod validate;

// What it is called from here on, and what is computed of it.
pub mod aggregate;
pub mod aggregating;
pub mod rewrite;
pub mod template;

// Who takes it.
pub mod route;

// The last three in one call a batch, and from there to the rings in one commit.
pub mod pipeline;
pub mod profile;

pub mod intake;

// From a ring to the wire.
pub mod queue;

pub mod encode;

pub mod destination;

// What outlives a worker, and how it is passed on.
pub mod handover;
pub mod ledger;

// What outlives all processes: spooled lines, and what happened.
pub mod state;

// What may be seen.
pub mod admin;
pub mod metrics;
pub mod tap;

// What was written by people, and what they change at run time.
pub mod amend;
pub mod config;
pub mod convert;
pub mod ruleset;
pub mod spec;
pub mod spool;

// The two processes.
pub mod supervisor;
pub mod worker;

// The command line, and the drill that it offers.
pub mod cli;
pub mod drill;

// What all stand on.
pub mod logging;
pub mod sys;
