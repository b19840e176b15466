//! What is left of a damaged row.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};

use super::super::{StoreError, Synchronous};
use super::convert::{fault, is_local};
use super::open::connect;
use super::sql;

/// What can be read of a row.
#[derive(Debug, Default)]
pub struct Remains {
    /// All of the payload, or nothing.
    pub payload: Option<Vec<u8>>,
    /// As far as that can be read.
    pub lines: i64,
    /// As far as that can be read.
    pub bytes: i64,
}

impl Remains {
    /// Looks at the row, through a connection of its own: SQLite writes nothing more in a transaction in which it came
    /// across damage.
    pub fn of(conn: &Connection, destination: &str, seq: i64) -> Result<Remains, StoreError> {
        let path = Path::new(conn.path().unwrap_or_default());
        let access = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let beside = connect(path, access, Synchronous::Normal, Duration::ZERO)?;
        match Remains::read(&beside, destination, seq).map_err(fault)? {
            Some(remains) => Ok(remains),
            // It isn't there yet for others, and what was written just now isn't damaged.
            None => Ok(Remains::read(conn, destination, seq)
                .map_err(fault)?
                .unwrap_or_default()),
        }
    }

    fn read(conn: &Connection, destination: &str, seq: i64) -> rusqlite::Result<Option<Remains>> {
        let place = params![destination, seq];
        let there = conn.prepare(sql::IS_THERE)?.exists(place);
        if !there? {
            return Ok(None);
        }
        let counts = conn
            .prepare(sql::COUNTS)?
            .query_row(place, |row| Ok((row.get(0)?, row.get(1)?)));
        let (lines, bytes) = readable(counts)?.unwrap_or_default();
        let payload = conn
            .prepare(sql::PAYLOAD)?
            .query_row(place, |row| Ok(row.get_ref(0)?.as_blob()?.to_vec()));
        Ok(Some(Remains {
            payload: readable(payload)?,
            lines,
            bytes,
        }))
    }
}

fn readable<T>(read: rusqlite::Result<T>) -> rusqlite::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if is_local(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
