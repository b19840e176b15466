//! What goes into the store and comes out of it.

/// Spooled lines as they are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its place in the order of its destination.
    pub seq: i64,
    /// When the first line came in, in milliseconds since 1970.
    pub first_at_ms: u64,
    /// When the last line came in.
    pub last_at_ms: u64,
    /// How many lines.
    pub lines: u64,
    /// The lines, each with its newline.
    pub payload: Vec<u8>,
}

/// Spooled lines as they are written.
#[derive(Clone, Copy, Debug)]
pub struct NewRow<'a> {
    /// Who is to get them.
    pub destination: &'a str,
    /// The place in the order of the destination: any number but the lowest, positive or not, that isn't taken.
    pub seq: i64,
    /// When the first line came in, in milliseconds since 1970.
    pub first_at_ms: u64,
    /// When the last line came in.
    pub last_at_ms: u64,
    /// How many lines.
    pub lines: u64,
    /// The lines, each with its newline.
    pub payload: &'a [u8],
}

/// How far a ring in memory was taken over into rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Which ring: a random number that it has for life.
    pub ring: u64,
    /// What lies before this position of the ring is in rows, or was never to be.
    pub position: u64,
}

/// What is spooled for one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// Who is to get it.
    pub destination: String,
    /// In so many rows.
    pub rows: u64,
    /// So many lines.
    pub lines: u64,
    /// So many bytes of payload.
    pub bytes: u64,
    /// When the first line of the first row came in; `None` if that can't be read.
    pub oldest_ms: Option<u64>,
    /// When the last line of the last row came in; `None` if that can't be read.
    pub newest_ms: Option<u64>,
}

/// What a change took out of a spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// So many rows.
    pub rows: u64,
    /// So many lines.
    pub lines: u64,
    /// So many bytes of payload.
    pub bytes: u64,
}

/// What the store takes on disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The file.
    pub file: u64,
    /// Of the file, as the WAL will make it, what is free for new rows: never more than the file has.
    pub free: u64,
    /// The WAL beside it.
    pub wal: u64,
}

/// What the disk has room for, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The next checkpoint makes the file longer by so much: as long as there is no room for it, the WAL can't be begun anew.
    pub promised: u64,
    /// What is free on the disk.
    pub room: u64,
}

/// How a checkpoint went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The length of the WAL now, in bytes. It keeps its length when it is begun anew.
    pub wal: u64,
    /// The WAL is longer than it should be, since a reader holds what it read: only an end of that transaction helps.
    pub held_by_reader: bool,
}

/// A worker that there was. Generations count from 1 after each full start, so a worker is known by its number, its
/// process and when it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenerationRow {
    /// The generation.
    pub id: u64,
    /// The process.
    pub pid: u32,
    /// Which Baton.
    pub version: String,
    /// A hash of the config that it worked by.
    pub config_hash: String,
    /// Why it was started.
    pub reason: String,
    /// When it was started, in milliseconds since 1970.
    pub started_at_ms: u64,
    /// When it was ready.
    pub ready_at_ms: Option<u64>,
    /// When it ended.
    pub ended_at_ms: Option<u64>,
    /// How long nothing was moved while it took over, in microseconds.
    pub pause_us: Option<u64>,
    /// What became of it.
    pub outcome: Option<String>,
}

/// A change that someone made at run time, for people to read.
#[derive(Clone, Copy, Debug)]
pub struct ChangeRow<'a> {
    /// Its number, in a file that has none as high; else it gets the next.
    pub number: Option<u64>,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// On which way it came: a port, a socket.
    pub via: &'a str,
    /// From whom.
    pub peer: &'a str,
    /// What was asked.
    pub command: &'a str,
    /// What came of it.
    pub outcome: &'a str,
}

/// What was changed about a rule of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRow {
    /// Which kind of rule.
    pub kind: String,
    /// What it is known by among those.
    pub key: String,
    /// Its place among those.
    pub position: i64,
    /// As compared with the file: `added`, `removed`, `changed` where the file has it, or `moved` to where nobody but this says.
    pub origin: String,
    /// The rule as TOML; `None`: it was removed.
    pub spec: Option<String>,
    /// When, in milliseconds since 1970.
    pub changed_at_ms: u64,
}

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PastChange {
    /// Its number.
    pub id: u64,
    /// When: ISO 8601, UTC.
    pub at: String,
    /// On which way it came.
    pub via: String,
    /// From whom.
    pub peer: String,
    /// What was asked.
    pub command: String,
    /// What came of it.
    pub outcome: String,
    /// It is known how.
    pub can_be_undone: bool,
}
