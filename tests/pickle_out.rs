//! Destinations that are sent pickled points: every point counted, through restarts, crashes, resets and outages; and carbon itself takes them.
//!
//! The sink reads frames as it reads lines, and a frame that is torn or that Baton wasn't to send is a torn line to it.

#[path = "spool/bed.rs"]
#[allow(dead_code, reason = "each of the test programs uses a part of it")]
mod bed;
#[path = "pickle_out/carbon.rs"]
mod carbon;
#[path = "destinations/fault.rs"]
#[allow(dead_code, reason = "each of the test programs uses a part of it")]
mod fault;
#[path = "pickle_out/links.rs"]
mod links;
#[path = "inputs/relay.rs"]
#[allow(dead_code, reason = "each of the test programs uses a part of it")]
mod relay;
#[path = "pickle_out/restarts.rs"]
mod restarts;
#[path = "pickle_out/spools.rs"]
mod spools;
#[path = "handover/trial.rs"]
mod trial;
