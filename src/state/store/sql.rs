//! The statements about spools. In all of them `?1` is the destination.

/// Rows that weren't purged, as a range of the index: it doesn't matter how many were.
macro_rules! unpurged {
    () => {
        "FROM spool WHERE destination = ?1 AND seq > coalesce(
            (SELECT through FROM spool_purged WHERE destination = ?1), -9223372036854775808) "
    };
}

/// As `unpurged`, but behind `?2`. It is one bound: of two, SQLite would walk from the one to the other.
macro_rules! behind {
    () => {
        "FROM spool WHERE destination = ?1 AND seq > max(?2, coalesce(
            (SELECT through FROM spool_purged WHERE destination = ?1), -9223372036854775808)) "
    };
}

/// And not rows that can't even be deleted.
macro_rules! loose {
    () => {
        "AND NOT EXISTS (SELECT 1 FROM spool_damaged AS d
            WHERE d.destination = ?1 AND d.seq = spool.seq AND d.stuck = 1) "
    };
}

/// The lowest place that is taken.
pub const LOWEST: &str = concat!("SELECT seq ", unpurged!(), "ORDER BY seq LIMIT 1");
/// The highest place that is taken.
pub const HIGHEST: &str = concat!("SELECT seq ", unpurged!(), "ORDER BY seq DESC LIMIT 1");
/// The highest place that has a row, purged or not.
pub const HIGHEST_OF_ALL: &str =
    "SELECT seq FROM spool WHERE destination = ?1 ORDER BY seq DESC LIMIT 1";
/// The first place behind `?2` that has a living row.
pub const NEXT: &str = concat!("SELECT seq ", behind!(), loose!(), "ORDER BY seq LIMIT 1");
/// The row at `?2`.
pub const ROW: &str = "SELECT first_at, last_at, lines, bytes, payload FROM spool WHERE destination = ?1 AND seq = ?2";
/// When the first line came in.
pub const FIRST_AT: &str = concat!(
    "SELECT first_at ",
    unpurged!(),
    loose!(),
    "ORDER BY seq LIMIT 1"
);
/// When the last line came in.
pub const LAST_AT: &str = concat!(
    "SELECT last_at ",
    unpurged!(),
    loose!(),
    "ORDER BY seq DESC LIMIT 1"
);
/// How large the rows behind `?2` are.
pub const SIZES: &str = concat!("SELECT seq, bytes ", behind!(), loose!(), "ORDER BY seq");
/// Counts what lives: to be used when that is next to nothing.
pub const COUNT_LEFT: &str = concat!(
    "UPDATE spool_total SET (rows, lines, bytes) =
        (SELECT count(*), coalesce(sum(lines), 0), coalesce(sum(bytes), 0) ",
    unpurged!(),
    loose!(),
    ") WHERE destination = ?1"
);
/// The rows behind `?2` up to `?3`, purged or not.
pub const DELETE: &str = concat!(
    "DELETE FROM spool WHERE destination = ?1 AND seq > ?2 AND seq <= ?3 ",
    loose!()
);
/// Up to `?3` rows that were purged, which is through `?2`.
pub const PURGED: &str = concat!(
    "SELECT seq FROM spool WHERE destination = ?1 AND seq <= ?2 ",
    loose!(),
    "ORDER BY seq LIMIT ?3"
);
/// Whether there is a row at `?2`, by the index.
pub const IS_THERE: &str = "SELECT seq FROM spool WHERE destination = ?1 AND seq = ?2";
/// Its lines and bytes.
pub const COUNTS: &str = "SELECT lines, bytes FROM spool WHERE destination = ?1 AND seq = ?2";
/// Its payload.
pub const PAYLOAD: &str = "SELECT payload FROM spool WHERE destination = ?1 AND seq = ?2";
/// Notes that the row at `?2` was found damaged.
pub const KEEP: &str =
    "INSERT INTO spool_damaged (destination, seq, found_at, reason, stuck, payload)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
/// Takes a row that stays where it is out of the totals.
pub const UNCOUNT: &str = "UPDATE spool_total SET rows = rows - 1,
    lines = CASE rows WHEN 1 THEN 0 ELSE lines - ?2 END,
    bytes = CASE rows WHEN 1 THEN 0 ELSE bytes - ?3 END WHERE destination = ?1";
/// Of which destinations there are rows that were purged.
pub const TO_SWEEP: &str = "SELECT destination, through FROM spool_purged AS p
    WHERE EXISTS (SELECT 1 FROM spool AS s WHERE s.destination = p.destination AND s.seq <= p.through
        AND NOT EXISTS (SELECT 1 FROM spool_damaged AS d
            WHERE d.destination = s.destination AND d.seq = s.seq AND d.stuck = 1))";
