//! The tables, and how an older file gets what is new.

/// Whose file it is: "Btn1".
pub const APPLICATION_ID: i32 = i32::from_be_bytes(*b"Btn1");

/// A file of a higher major number can't be read; one of a higher minor number has more than is needed here.
pub const MAJOR: i64 = 1;

/// Bytes a page has. A row of 1 MiB is read and written through its pages: measured, see `page_tests.rs`.
pub const PAGE_SIZE: u32 = 16 * 1024;

/// What a minor version adds. It must leave alone what older ones use: an older worker may go on with the file.
pub struct Step {
    /// The minor version that it makes.
    pub minor: i64,
    /// How.
    pub sql: &'static str,
}

/// All that was added to [`FIRST`], in order.
pub const STEPS: &[Step] = &[];

/// What `user_version` says after these steps.
pub fn version(steps: &[Step]) -> i64 {
    MAJOR * 1000 + steps.last().map_or(0, |step| step.minor)
}

/// What has to be there, else the file isn't what it says.
pub const TABLES: &[&str] = &[
    "generation",
    "route_change",
    "spool",
    "spool_damaged",
    "spool_position",
    "spool_purged",
    "spool_total",
    "table_entry",
];

/// Aggregation windows over a stop. Made by the stop that needs it and not by a step: it has to be there in the file of
/// any minor version, and the worker that stops may not have come so far as to migrate.
pub const KEPT: &str = "
CREATE TABLE IF NOT EXISTS kept_window (
    id TEXT NOT NULL,
    piece INTEGER NOT NULL,
    kept_at TEXT NOT NULL,
    summary TEXT NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (id, piece)
) STRICT;
";

/// How changes of the table can be undone: the entries that there were, as JSON. Made by the first change, as [`KEPT`] is.
pub const UNDO: &str = "
CREATE TABLE IF NOT EXISTS route_undo (
    id INTEGER PRIMARY KEY,
    rows TEXT NOT NULL
) STRICT;
";

/// Version 1.0.
///
/// A row of `spool` lives when its seq is above what was purged, and when it isn't `stuck`: so unreadable that it can't
/// even be deleted. `spool_total` counts what lives.
pub const FIRST: &str = "
CREATE TABLE spool (
    id INTEGER PRIMARY KEY,
    destination TEXT NOT NULL,
    seq INTEGER NOT NULL CHECK (seq > -9223372036854775808),
    first_at TEXT NOT NULL,
    last_at TEXT NOT NULL,
    lines INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX spool_order ON spool (destination, seq);

CREATE TABLE spool_total (
    destination TEXT NOT NULL PRIMARY KEY,
    rows INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE spool_purged (
    destination TEXT NOT NULL PRIMARY KEY,
    through INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE spool_position (
    destination TEXT NOT NULL PRIMARY KEY,
    ring INTEGER NOT NULL,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE spool_damaged (
    id INTEGER PRIMARY KEY,
    destination TEXT NOT NULL,
    seq INTEGER NOT NULL,
    found_at TEXT NOT NULL,
    reason TEXT NOT NULL,
    stuck INTEGER NOT NULL DEFAULT 0,
    payload BLOB
) STRICT;
CREATE INDEX spool_stuck ON spool_damaged (destination, seq) WHERE stuck = 1;

-- A row that is put where others were purged: those between go at once, so that the mark can be lowered.
CREATE TRIGGER spool_below_purged BEFORE INSERT ON spool
WHEN EXISTS (SELECT 1 FROM spool_purged WHERE destination = NEW.destination AND through >= NEW.seq)
BEGIN
    DELETE FROM spool WHERE destination = NEW.destination AND seq >= NEW.seq
        AND seq <= (SELECT through FROM spool_purged WHERE destination = NEW.destination);
    UPDATE spool_purged SET through = NEW.seq - 1 WHERE destination = NEW.destination;
END;

CREATE TRIGGER spool_added AFTER INSERT ON spool
BEGIN
    INSERT INTO spool_total VALUES (NEW.destination, 1, NEW.lines, NEW.bytes)
    ON CONFLICT (destination) DO UPDATE
    SET rows = rows + 1, lines = lines + NEW.lines, bytes = bytes + NEW.bytes;
END;

CREATE TRIGGER spool_removed AFTER DELETE ON spool
WHEN NOT EXISTS (SELECT 1 FROM spool_purged WHERE destination = OLD.destination AND through >= OLD.seq)
    AND NOT EXISTS (SELECT 1 FROM spool_damaged
        WHERE destination = OLD.destination AND seq = OLD.seq AND stuck = 1)
BEGIN
    UPDATE spool_total SET rows = rows - 1, lines = lines - OLD.lines, bytes = bytes - OLD.bytes
    WHERE destination = OLD.destination;
END;

CREATE TRIGGER spool_moved_from AFTER UPDATE OF destination, seq, lines, bytes ON spool
WHEN NOT EXISTS (SELECT 1 FROM spool_purged WHERE destination = OLD.destination AND through >= OLD.seq)
BEGIN
    UPDATE spool_total SET rows = rows - 1, lines = lines - OLD.lines, bytes = bytes - OLD.bytes
    WHERE destination = OLD.destination;
END;

CREATE TRIGGER spool_moved_to AFTER UPDATE OF destination, seq, lines, bytes ON spool
WHEN NOT EXISTS (SELECT 1 FROM spool_purged WHERE destination = NEW.destination AND through >= NEW.seq)
BEGIN
    INSERT INTO spool_total VALUES (NEW.destination, 1, NEW.lines, NEW.bytes)
    ON CONFLICT (destination) DO UPDATE
    SET rows = rows + 1, lines = lines + NEW.lines, bytes = bytes + NEW.bytes;
END;

CREATE TABLE generation (
    id INTEGER NOT NULL,
    pid INTEGER NOT NULL,
    version TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    reason TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ready_at TEXT,
    ended_at TEXT,
    pause_us INTEGER,
    outcome TEXT,
    PRIMARY KEY (started_at, id, pid)
) STRICT;

CREATE TABLE route_change (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    via TEXT NOT NULL,
    peer TEXT NOT NULL,
    command TEXT NOT NULL,
    outcome TEXT NOT NULL
) STRICT;

CREATE TABLE table_entry (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    position INTEGER NOT NULL,
    origin TEXT NOT NULL,
    spec TEXT,
    changed_at TEXT NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

CREATE VIEW spool_summary AS
SELECT destination, rows, lines, bytes,
    (SELECT first_at FROM spool AS s WHERE s.destination = t.destination
        AND s.seq > coalesce(p.through, -9223372036854775808)
        AND NOT EXISTS (SELECT 1 FROM spool_damaged AS d
            WHERE d.destination = s.destination AND d.seq = s.seq AND d.stuck = 1)
        ORDER BY s.seq LIMIT 1) AS oldest,
    (SELECT last_at FROM spool AS s WHERE s.destination = t.destination
        AND s.seq > coalesce(p.through, -9223372036854775808)
        AND NOT EXISTS (SELECT 1 FROM spool_damaged AS d
            WHERE d.destination = s.destination AND d.seq = s.seq AND d.stuck = 1)
        ORDER BY s.seq DESC LIMIT 1) AS newest
FROM spool_total AS t LEFT JOIN spool_purged AS p USING (destination)
WHERE rows > 0 ORDER BY destination;

CREATE VIEW spool_lines AS
SELECT destination, seq, first_at, last_at, lines, CAST(payload AS TEXT) AS payload
FROM spool AS s
WHERE NOT EXISTS (SELECT 1 FROM spool_purged AS p WHERE p.destination = s.destination AND p.through >= s.seq)
    AND NOT EXISTS (SELECT 1 FROM spool_damaged AS d
        WHERE d.destination = s.destination AND d.seq = s.seq AND d.stuck = 1)
ORDER BY destination, seq;

CREATE VIEW routes AS
SELECT position, key, coalesce(spec, '(removed)') AS spec, origin, changed_at
FROM table_entry WHERE kind = 'route' ORDER BY position, key;

CREATE VIEW restarts AS
SELECT started_at, id AS generation, pid, version, reason, ready_at, pause_us / 1000.0 AS pause_ms, outcome, ended_at
FROM generation ORDER BY started_at DESC, id DESC;
";
