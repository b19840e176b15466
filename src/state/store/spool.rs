//! Questions about spools.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::{Deleted, Position, Row, RowError, Total, time};
use super::convert::{fault, is_local, unsigned};
use super::sql;

/// See [`super::Store::totals`].
pub fn totals(conn: &Connection) -> rusqlite::Result<Vec<Total>> {
    let sql = "SELECT destination, rows, lines, bytes FROM spool_total WHERE rows > 0 ORDER BY destination";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map((), |row| {
        Ok(Total {
            destination: row.get(0)?,
            rows: unsigned(row.get(1)?),
            lines: unsigned(row.get(2)?),
            bytes: unsigned(row.get(3)?),
            oldest_ms: None,
            newest_ms: None,
        })
    })?;
    let mut totals = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    for total in &mut totals {
        total.oldest_ms = time_of(conn, sql::FIRST_AT, &total.destination)?;
        total.newest_ms = time_of(conn, sql::LAST_AT, &total.destination)?;
    }
    Ok(totals)
}

/// One row that can't be read is no reason to hide the others.
fn time_of(conn: &Connection, sql: &str, destination: &str) -> rusqlite::Result<Option<u64>> {
    let text = conn
        .prepare_cached(sql)?
        .query_row([destination], |row| row.get::<_, String>(0));
    match text {
        Ok(text) => Ok(time::parse(&text)),
        Err(error) if is_local(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the totals of one destination say.
pub fn total(conn: &Connection, destination: &str) -> rusqlite::Result<Deleted> {
    let sql = "SELECT rows, lines, bytes FROM spool_total WHERE destination = ?1";
    let total = conn.prepare_cached(sql)?.query_row([destination], |row| {
        Ok(Deleted {
            rows: unsigned(row.get(0)?),
            lines: unsigned(row.get(1)?),
            bytes: unsigned(row.get(2)?),
        })
    });
    Ok(total.optional()?.unwrap_or_default())
}

/// See [`super::Store::bounds`]. Rows that are stuck take a place, too.
pub fn bounds(conn: &Connection, destination: &str) -> rusqlite::Result<Option<(i64, i64)>> {
    if next_seq(conn, destination, None)?.is_none() {
        return Ok(None);
    }
    let lowest = place(conn, sql::LOWEST, destination)?;
    let highest = place(conn, sql::HIGHEST, destination)?;
    Ok(lowest.zip(highest))
}

fn place(conn: &Connection, sql: &str, destination: &str) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached(sql)?
        .query_row([destination], |row| row.get(0))
        .optional()
}

/// The highest place that has a row, purged or not.
pub fn highest_of_all(conn: &Connection, destination: &str) -> rusqlite::Result<Option<i64>> {
    place(conn, sql::HIGHEST_OF_ALL, destination)
}

/// See [`super::Store::purged_through`].
pub fn purged_through(conn: &Connection, destination: &str) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT through FROM spool_purged WHERE destination = ?1";
    place(conn, sql, destination)
}

/// The first place behind this one that has a living row. The index tells: no row is read.
pub fn next_seq(
    conn: &Connection,
    destination: &str,
    after: Option<i64>,
) -> rusqlite::Result<Option<i64>> {
    let after = after.unwrap_or(i64::MIN);
    let values = params![destination, after];
    conn.prepare_cached(sql::NEXT)?
        .query_row(values, |row| row.get(0))
        .optional()
}

/// A row that [`next_seq`] has named.
pub fn row(conn: &Connection, destination: &str, seq: i64) -> Result<Row, RowError> {
    let unreadable = |reason: String| RowError::Row { seq, reason };
    let failed = |error: rusqlite::Error| match is_local(&error) {
        true => unreadable(error.to_string()),
        false => RowError::Store(fault(error)),
    };
    let mut statement = conn.prepare_cached(sql::ROW).map_err(fault)?;
    let values = params![destination, seq];
    let read = statement.query_row(values, |row| {
        let payload = row.get_ref(4)?.as_blob()?.to_vec();
        let times: [String; 2] = [row.get(0)?, row.get(1)?];
        Ok((times, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?, payload))
    });
    let (times, lines, bytes, payload) = read.map_err(failed)?;
    if unsigned(bytes) != payload.len() as u64 {
        let found = payload.len();
        return Err(unreadable(format!(
            "it should have {bytes} bytes, and has {found}"
        )));
    }
    // The last of its pages has nothing that tells damage, but what the row itself says.
    let found = payload.iter().filter(|byte| **byte == b'\n').count() as u64;
    if unsigned(lines) != found {
        return Err(unreadable(format!(
            "it should have {lines} lines, and has {found}"
        )));
    }
    let time =
        |text: &str| time::parse(text).ok_or_else(|| unreadable(format!("{text:?} is no time")));
    Ok(Row {
        seq,
        first_at_ms: time(&times[0])?,
        last_at_ms: time(&times[1])?,
        lines: unsigned(lines),
        payload,
    })
}

/// See [`super::Store::position`].
pub fn position(conn: &Connection, destination: &str) -> rusqlite::Result<Option<Position>> {
    let sql = "SELECT ring, position FROM spool_position WHERE destination = ?1";
    let position = conn.prepare_cached(sql)?.query_row([destination], |row| {
        Ok(Position {
            ring: row.get::<_, i64>(0)?.cast_unsigned(),
            position: row.get::<_, i64>(1)?.cast_unsigned(),
        })
    });
    position.optional()
}

/// The first places of each destination that were purged and still have a row.
pub fn purged(conn: &Connection, rows: u32) -> rusqlite::Result<Vec<(String, Vec<i64>)>> {
    let mut statement = conn.prepare_cached(sql::TO_SWEEP)?;
    let marks = statement
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(String, i64)>>>()?;
    let places = |(destination, through): (String, i64)| {
        let mut statement = conn.prepare_cached(sql::PURGED)?;
        let values = params![destination, through, rows];
        let seqs = statement.query_map(values, |row| row.get(0))?;
        let seqs = seqs.collect::<rusqlite::Result<Vec<i64>>>()?;
        Ok((destination, seqs))
    };
    marks.into_iter().map(places).collect()
}

/// Whether there is something for [`super::Store::sweep`] to do.
pub fn is_to_sweep(conn: &Connection) -> rusqlite::Result<bool> {
    conn.prepare_cached(sql::TO_SWEEP)?.exists(())
}
