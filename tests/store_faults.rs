//! The database of the spool, hurt in every way while the relay works: it never stops, and every line is counted.

#[path = "table/api.rs"]
#[expect(dead_code, reason = "each of the test programs uses a part of it")]
mod api;
#[path = "store_faults/damage.rs"]
mod damage;
#[path = "store_faults/disk.rs"]
mod disk;
#[path = "store_faults/limits.rs"]
mod limits;
#[path = "store_faults/others.rs"]
mod others;
#[path = "inputs/relay.rs"]
#[expect(dead_code, reason = "each of the test programs uses a part of it")]
mod relay;
#[path = "store_faults/trial.rs"]
mod trial;
#[path = "store_faults/unusable.rs"]
mod unusable;
