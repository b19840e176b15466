//! The last half hour in numbers: a point each ten seconds.

use serde::{Deserialize, Serialize};

/// Seconds between points.
pub const STEP: u32 = 10;
/// So many points are kept: half an hour.
pub const POINTS: usize = 180;
/// So many destinations at most have charts: with 540 numbers of four bytes each that is 22 MB; each takes its part only
/// once it is there. Those that come later in the table are left out.
pub const MAX_DESTINATIONS: usize = 10_000;

/// Point `n` of every array is of the ten seconds that end at `start + n × step`. All arrays have the same length; what
/// isn't known (a destination that wasn't there yet) is `null`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Charts {
    /// Seconds between points.
    pub step: u32,
    /// When the first point was taken, in seconds since 1970.
    pub start: u64,
    /// How many points there are.
    pub points: usize,
    /// Over all.
    pub totals: TotalsChart,
    /// In the order of the table.
    pub destinations: Vec<DestinationChart>,
    /// Destinations of the table that have no charts, since there are too many.
    pub left_out: usize,
}

/// Of all lines, by second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TotalsChart {
    /// Lines in.
    #[serde(rename = "in")]
    pub lines: Vec<Option<f32>>,
    /// Lines rejected.
    pub rejected: Vec<Option<f32>>,
    /// Lines that destinations' queues or spools had no room for.
    pub dropped: Vec<Option<f32>>,
}

/// Of one destination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DestinationChart {
    /// Its id.
    pub id: String,
    /// Lines acknowledged, by second.
    pub acknowledged: Vec<Option<f32>>,
    /// Lines in its queue at that time.
    pub queued: Vec<Option<f32>>,
    /// Lines in its spool at that time.
    pub spooled: Vec<Option<f32>>,
}
