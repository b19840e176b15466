//! Restarts of whole processes under load, and everything that can go wrong with one: each line is counted.
//!
//! Each test ends with the same verdict: 0 lines lost, duplicated, torn or out of order, 0 client errors, both
//! equations of the books, no total that ever went back, exit status 0 and no process left behind.

#[path = "handover/crashes.rs"]
mod crashes;
#[path = "handover/destinations.rs"]
mod destinations;
#[path = "handover/http.rs"]
mod http;
#[path = "handover/listeners.rs"]
mod listeners;
#[path = "handover/loading.rs"]
mod loading;
#[path = "handover/partials.rs"]
mod partials;
#[path = "handover/refusals.rs"]
mod refusals;
#[path = "handover/restarts.rs"]
mod restarts;
#[path = "handover/rollbacks.rs"]
mod rollbacks;
#[path = "handover/trial.rs"]
mod trial;
