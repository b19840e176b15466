//! What may be seen: one document, from which the status, the web API and the metrics are rendered.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::handover::Generation;

/// The state of a worker at one moment. Counters are totals since the service was started, over
/// all of its workers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct View {
    /// When that was, in milliseconds since 1970.
    pub now_ms: u64,
    /// Its number.
    pub generation: u64,
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// The config it runs.
    pub config_hash: String,
    /// It serves, and isn't stopping.
    pub serving: bool,
    /// What was changed at run time.
    pub run_time: RunTimeView,
    /// Lines that destinations dropped, by reason, those included that have gone.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Sockets to listen on.
    pub listeners: Vec<ListenerView>,
    /// Rules that drop lines, in order.
    pub blocklist: Vec<RuleView>,
    /// Aggregations, in order.
    pub aggregations: Vec<AggregationView>,
    /// The windows of all aggregations.
    pub windows: WindowsView,
    /// Routes, in order.
    pub routes: Vec<RouteView>,
    /// Destinations, in the order of their routes.
    pub destinations: Vec<DestinationView>,
    /// Over all listeners.
    pub totals: Totals,
    /// Workers there were, the newest last.
    pub generations: Vec<Generation>,
    /// All that the supervisor holds would outlive it; none where nobody keeps it.
    pub kept: Option<bool>,
    /// The database.
    pub state: StateView,
    /// Who looks on.
    pub subscribers: SubscribersView,
    /// Wrong tokens that were said, by whatever way.
    pub wrong_tokens: u64,
}

/// Who looks on.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SubscribersView {
    /// How many do now.
    pub now: u64,
    /// Lines that were lost to one of them, all of them together.
    pub lines_lost: u64,
}

/// How the table differs from the file's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunTimeView {
    /// Rules of the file that are otherwise in force, or not at all.
    pub overruled: u64,
    /// Rules that the file doesn't have.
    pub added: u64,
}

/// The database that spools are in.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StateView {
    /// The file.
    pub path: String,
    /// It takes lines.
    pub ok: bool,
    /// What is wrong, while something is.
    pub error: Option<String>,
    /// Where the last damaged file was moved to.
    pub moved_aside: Option<String>,
    /// The file's length.
    pub file_bytes: u64,
    /// Bytes of it that are free.
    pub free_bytes: u64,
    /// How much of it may be in use.
    pub limit_bytes: u64,
    /// The length of its write-ahead log.
    pub wal_bytes: u64,
    /// A reader's open transaction keeps that from being emptied.
    pub wal_held: bool,
    /// Spools of destinations that the config doesn't have.
    pub orphans: Vec<OrphanView>,
}

/// What the database has of a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SpoolView {
    /// Rows, those included whose lines are in the queue.
    pub rows: u64,
    /// Their lines.
    pub lines: u64,
    /// Bytes of lines.
    pub bytes: u64,
    /// When the first line of the first row came in.
    pub oldest: Option<String>,
    /// When the last line of the last row came in.
    pub newest: Option<String>,
}

/// A spool of a destination that the config doesn't have.
#[derive(Clone, Debug, Default, Serialize)]
pub struct OrphanView {
    /// Whose it is.
    pub destination: String,
    /// What it has.
    #[serde(flatten)]
    pub spool: SpoolView,
}

/// A socket to listen on.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ListenerView {
    /// `tcp://…`, `udp://…`, `unix:…`, or `internal` for Baton's own metrics.
    pub address: String,
    /// `line`, `http` or `internal`.
    pub kind: String,
    /// Connections now.
    pub connections: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections closed.
    pub closed: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Datagrams that the kernel dropped because they came faster than they were read (UDP).
    pub kernel_dropped: u64,
    /// Its lines.
    #[serde(flatten)]
    pub totals: Totals,
}

/// The books of input: `in` = sum of `rejected` + `blocked` + `consumed` + `unrouted` + `routed`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Totals {
    /// Lines in, empty ones not counted.
    #[serde(rename = "in")]
    pub lines: u64,
    /// Lines rejected, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Lines that the blocklist dropped.
    pub blocked: u64,
    /// Lines that an aggregation took, and let go no further.
    pub consumed: u64,
    /// Lines that no destination took.
    pub unrouted: u64,
    /// Lines that at least one destination took.
    pub routed: u64,
    /// Lines routed × destinations that took them.
    pub copies: u64,
    /// Bytes that a killed worker had read and not queued, with the rest of the lines that were cut.
    pub lost_by_crash_bytes: u64,
    /// Bytes that a stop left unread.
    pub unread_at_stop_bytes: u64,
}

/// A rule of the blocklist.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RuleView {
    /// Its text.
    pub rule: String,
    /// Lines it dropped.
    pub blocked: u64,
}

/// The windows of all aggregations, as the worker has them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WindowsView {
    /// How many are open.
    pub open: u64,
    /// How many points are in them.
    pub points: u64,
    /// None is closed until those of the predecessor have come.
    pub held: bool,
    /// Names of which the last timestamp is known.
    pub order_names: u64,
    /// Names that were forgotten since there was no room for them.
    pub order_forgotten: u64,
}

/// The books of an aggregation: `points` + `restored` = `flushed` + `open_points` + `lost_points`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AggregationView {
    /// Its canonical text.
    pub aggregation: String,
    /// Points that it took into windows.
    pub points: u64,
    /// Points that went into none, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Points in windows that were kept over a stop.
    pub restored: u64,
    /// Points of windows that were closed, and whose lines went to the routes.
    pub flushed: u64,
    /// Points of windows that were lost: with a killed worker, or since no config has the aggregation any more.
    pub lost_points: u64,
    /// Windows that were closed.
    pub windows: u64,
    /// Lines that came of them.
    pub lines_out: u64,
    /// Windows that are open.
    pub open_windows: u64,
    /// Points in windows, by the books.
    pub open_points: u64,
}

/// A route.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RouteView {
    /// Its key.
    pub key: String,
    /// As configured.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it matches, those patterns that are set.
    pub matcher: BTreeMap<&'static str, String>,
    /// Lines it took.
    pub lines: u64,
}

/// The books of a destination: `given` + `imported` = `acknowledged` + `queued` + `spooled` + `moved` + sum of `dropped`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DestinationView {
    /// Its id.
    pub id: String,
    /// Its route's key; empty when the config has it no longer and its rest is being delivered.
    pub route: String,
    /// As configured.
    pub address: String,
    /// `connecting`, `up` or `down`.
    pub state: &'static str,
    /// The address it is connected to.
    pub peer: Option<String>,
    /// The last error while it isn't up.
    pub error: Option<String>,
    /// Lines that routes gave it.
    pub given: u64,
    /// Lines acknowledged by its kernel (written, for a file).
    pub acknowledged: u64,
    /// Lines in the queue.
    pub queued: u64,
    /// Lines in its spool that aren't in the queue.
    pub spooled: u64,
    /// Lines found in its spool that no route gave it since the service was started.
    pub imported: u64,
    /// Lines that were queued for it, and given to another of its route since it was down.
    pub moved: u64,
    /// Bytes in the queue.
    pub queued_bytes: u64,
    /// The size of the queue.
    pub queue_bytes: u64,
    /// What its spool may have, if it has one.
    pub spool_limit_bytes: Option<u64>,
    /// Lines written for the first time.
    pub sent: u64,
    /// Lines written again after a lost connection.
    pub resent: u64,
    /// Lines dropped, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Age of the oldest line in the queue, in seconds; 0 when it is empty.
    pub oldest_age_s: f64,
    /// `spool`, `block` or `drop`.
    pub full: &'static str,
    /// Whether it is sent pickled points instead of lines.
    pub pickle: bool,
    /// Connections made (files: openings).
    pub connects: u64,
    /// Attempts that failed.
    pub connect_failures: u64,
    /// Connections lost.
    pub disconnects: u64,
    /// What the database has of it, as of the last second.
    pub spool: SpoolView,
}
