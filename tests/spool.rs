//! Outages that are longer than a queue: what was spooled arrives, once and in order, whatever happens meanwhile.
//!
//! Each test ends with the same verdict: 0 lines lost, torn or out of order, 0 client errors, no duplicate that wasn't
//! unacknowledged, both equations of the books, and no row left in the database.

#[path = "spool/bed.rs"]
mod bed;
#[path = "spool/configs.rs"]
mod configs;
#[path = "spool/crashes.rs"]
mod crashes;
#[path = "spool/outages.rs"]
mod outages;
#[path = "inputs/relay.rs"]
#[expect(dead_code, reason = "each of the test programs uses a part of it")]
mod relay;
#[path = "spool/replays.rs"]
mod replays;
#[path = "spool/restarts.rs"]
mod restarts;
#[path = "spool/stops.rs"]
mod stops;
