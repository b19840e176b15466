//! The store: the only place that knows SQLite.

mod change;
mod checkpoint;
mod convert;
mod disk;
mod history;
mod kept;
mod lookup;
mod open;
mod remains;
mod schema;
mod spool;
mod sql;
mod table;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::{Position, Row, RowError, Size, StoreError, Total};
use convert::{fault, unsigned};
use schema::{STEPS, Step, version};

pub use change::Change;
pub use checkpoint::Checkpointer;
pub use open::Opened;

/// The file, for the thread that writes it.
#[derive(Debug)]
pub struct Store {
    conn: Connection,
    path: PathBuf,
    events_kept: u64,
}

impl Store {
    fn of(conn: Connection, path: &Path, events_kept: u64) -> Store {
        let path = open::own_path(&conn, path);
        Store {
            conn,
            path,
            events_kept,
        }
    }

    /// Adds what newer minor versions have. An older worker can go on with the file.
    ///
    /// # Errors
    ///
    /// The file is as it was.
    pub fn migrate(&mut self) -> Result<(), StoreError> {
        self.migrate_by(STEPS)
    }

    fn migrate_by(&mut self, steps: &[Step]) -> Result<(), StoreError> {
        let wanted = version(steps);
        let stands = |conn: &Connection| {
            conn.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
        };
        if stands(&self.conn).map_err(fault)? >= wanted {
            return Ok(());
        }
        let mut migrated = || {
            let tx = self
                .conn
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let minor = stands(&tx)? % 1000;
            for step in steps.iter().filter(|step| step.minor > minor) {
                tx.execute_batch(step.sql)?;
            }
            if stands(&tx)? < wanted {
                tx.pragma_update(None, "user_version", wanted)?;
            }
            tx.commit()
        };
        migrated().map_err(fault)
    }

    /// Begins to write. What isn't committed is undone.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] after two seconds in which another process was writing.
    pub fn begin(&mut self) -> Result<Change<'_>, StoreError> {
        Change::begin(&mut self.conn, self.events_kept)
    }

    /// How long it waits for a process that holds a lock: two seconds unless set.
    ///
    /// # Errors
    ///
    /// It waits as before.
    pub fn wait_for_locks(&self, limit: Duration) -> Result<(), StoreError> {
        self.conn.busy_timeout(limit).map_err(fault)
    }

    /// What is spooled, by destination: those that have any.
    ///
    /// # Errors
    ///
    /// When it can't be read. Times that can't be read are left out.
    pub fn totals(&self) -> Result<Vec<Total>, StoreError> {
        spool::totals(&self.conn).map_err(fault)
    }

    /// The lowest and highest place that is taken, if a destination has rows. (In between there may be gaps.)
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn bounds(&self, destination: &str) -> Result<Option<(i64, i64)>, StoreError> {
        spool::bounds(&self.conn, destination).map_err(fault)
    }

    /// The highest place that was purged, if there is none that lives at it or below.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn purged_through(&self, destination: &str) -> Result<Option<i64>, StoreError> {
        spool::purged_through(&self.conn, destination).map_err(fault)
    }

    /// The first row behind this place, or the first of all.
    ///
    /// # Errors
    ///
    /// [`RowError::Row`] if that row can't be read: it can be passed over, or set aside.
    pub fn next_row(&self, destination: &str, after: Option<i64>) -> Result<Option<Row>, RowError> {
        let seq = spool::next_seq(&self.conn, destination, after).map_err(fault)?;
        seq.map(|seq| spool::row(&self.conn, destination, seq))
            .transpose()
    }

    /// How far a ring was taken over.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn position(&self, destination: &str) -> Result<Option<Position>, StoreError> {
        spool::position(&self.conn, destination).map_err(fault)
    }

    /// What it takes on disk.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn size(&self) -> Result<Size, StoreError> {
        let file = file_length(&self.path);
        let free = self.pragma("freelist_count")? * self.pragma("page_size")?;
        Ok(Size {
            file,
            // Pages that are in the WAL only may be free already.
            free: free.min(file),
            wal: file_length(&sidecar(&self.path, "-wal")),
        })
    }

    /// Takes up to so many free pages out of the file, moving others forward; it is shorter after the next checkpoint.
    /// True if more remains.
    ///
    /// # Errors
    ///
    /// The file is as it was.
    pub fn shrink(&mut self, pages: u32) -> Result<bool, StoreError> {
        let shrunk = || {
            let sql = format!("PRAGMA incremental_vacuum({pages})");
            let mut statement = self.conn.prepare(&sql)?;
            let mut rows = statement.query(())?;
            while rows.next()?.is_some() {}
            Ok(())
        };
        if pages > 0 {
            shrunk().map_err(fault)?;
        }
        Ok(self.pragma("freelist_count")? > 0)
    }

    /// Deletes up to so many rows of those that were purged. True if more remains. A row that can't be deleted is left
    /// where it is, and noted among the damaged.
    ///
    /// # Errors
    ///
    /// Nothing was deleted.
    pub fn sweep(&mut self, rows: u32) -> Result<bool, StoreError> {
        if !spool::is_to_sweep(&self.conn).map_err(fault)? {
            return Ok(false);
        }
        match self.swept(rows) {
            // One of them is bad, or its neighbour is: one after the other.
            Err(StoreError::Damaged(_)) => match self.swept(1) {
                Err(StoreError::Damaged(_)) => {
                    let mut change = self.begin()?;
                    change.give_up_sweeping_one()?;
                    change.commit()?;
                }
                swept => swept?,
            },
            swept => swept?,
        }
        spool::is_to_sweep(&self.conn).map_err(fault)
    }

    fn swept(&mut self, rows: u32) -> Result<(), StoreError> {
        let mut change = self.begin()?;
        change.sweep(rows)?;
        change.commit()
    }

    /// Reads all pages and says if they make sense, for tests: it takes long.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] with the first thing that doesn't.
    pub fn quick_check(&self) -> Result<(), StoreError> {
        let said: Option<String> = self
            .conn
            .query_row("PRAGMA quick_check(1)", (), |row| row.get(0))
            .optional()
            .map_err(fault)?;
        match said.as_deref() {
            Some("ok") => Ok(()),
            said => Err(StoreError::Damaged(said.unwrap_or_default().to_owned())),
        }
    }

    fn pragma(&self, name: &str) -> Result<u64, StoreError> {
        let value = self.conn.pragma_query_value(None, name, |row| row.get(0));
        value.map(unsigned).map_err(fault)
    }
}

/// A file that SQLite keeps beside its own.
fn sidecar(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// 0 for one that isn't there. It is only asked for: to open and close the database's file would drop SQLite's locks.
fn file_length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}
