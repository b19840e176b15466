//! The last half hour in numbers: a point each ten seconds.

mod record;
mod series;

use serde::{Deserialize, Serialize};

pub use record::{Recorder, Seen, SeenDestination};
pub use series::Series;

/// Seconds between points.
pub const STEP: u32 = 10;
/// So many points are kept: half an hour.
pub const POINTS: usize = 180;
/// So many destinations at most have charts: 540 numbers of four bytes each, that is 22 MB, and only for those that there
/// are. Those that come later in the table have none.
pub const MAX_DESTINATIONS: usize = 10_000;

/// Point `n` of every series was taken at `start + n × step`, and is of the seconds before. All series have the same
/// length; what isn't known (a destination that wasn't there yet) is `null`.
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
    pub lines: Series,
    /// Lines rejected.
    pub rejected: Series,
    /// Lines that were dropped on their way to destinations, for whatever reason.
    pub dropped: Series,
}

/// Of one destination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DestinationChart {
    /// Its id.
    pub id: String,
    /// Lines acknowledged, by second.
    pub acknowledged: Series,
    /// Lines in its queue at that time.
    pub queued: Series,
    /// Lines in its spool at that time.
    pub spooled: Series,
}
