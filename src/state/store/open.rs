//! Opening the file: what it must look like, and what becomes of one that doesn't.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::super::{Settings, StoreError, Synchronous, time};
use super::convert::{fault, unsigned};
use super::schema::{APPLICATION_ID, FIRST, MAJOR, PAGE_SIZE, STEPS, TABLES, version};
use super::{Store, file_length, sidecar};

/// How long one waits for a lock that another process holds.
const BUSY: Duration = Duration::from_secs(2);
/// KiB of pages that a connection remembers: rows are written once and read once.
const CACHE_KIB: i64 = 4096;
/// Pages of the WAL from which on it is copied, by who has the file alone.
const LONG_WAL: i64 = 1000;
/// More than there are statements.
const STATEMENTS: usize = 64;

/// An open store, and what was found in its place.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// Where the file went that was there, if it couldn't be used.
    pub moved_aside: Option<PathBuf>,
    /// What was wrong with it.
    pub damage: Option<String>,
}

impl Store {
    /// Opens the file, or makes it. One that is damaged or another application's is moved aside, with its WAL, and
    /// never deleted; a new one is made in its place. An older minor schema is left as it is, see
    /// [`migrate`](Store::migrate).
    ///
    /// Waits up to two seconds for a process that holds a lock.
    ///
    /// # Errors
    ///
    /// [`StoreError::Newer`] leaves the file alone. `Damaged` isn't among the errors, unless a new file is damaged too.
    pub fn open(settings: &Settings) -> Result<Opened, StoreError> {
        let damage = match open_or_make(settings) {
            Err(StoreError::Damaged(damage)) => damage,
            opened => {
                return Ok(Opened {
                    store: opened?,
                    moved_aside: None,
                    damage: None,
                });
            }
        };
        Store::open_anew(settings, damage)
    }

    /// Moves aside the file, in which damage was found by using it, and makes a new one in its place. Nobody must have it open.
    ///
    /// # Errors
    ///
    /// As [`open`](Store::open).
    pub fn open_anew(settings: &Settings, damage: String) -> Result<Opened, StoreError> {
        let moved_aside = move_aside(&settings.path)?;
        Ok(Opened {
            store: open_or_make(settings)?,
            moved_aside: Some(moved_aside),
            damage: Some(damage),
        })
    }

    /// Opens a file that exists, beside a worker that may be using it: makes, moves and migrates nothing.
    ///
    /// # Errors
    ///
    /// Any: a file that is missing is [`StoreError::Unavailable`], an empty one [`StoreError::Damaged`].
    pub fn open_existing(path: &Path, writable: bool) -> Result<Store, StoreError> {
        let access = match writable {
            true => OpenFlags::SQLITE_OPEN_READ_WRITE,
            false => OpenFlags::SQLITE_OPEN_READ_ONLY,
        };
        let conn = connect(path, access, Synchronous::Normal, BUSY)?;
        match examine(&conn, path)? {
            Found::Nothing => Err(StoreError::Damaged("it is empty".to_owned())),
            Found::Ours => Ok(Store::of(conn, path, u64::MAX)),
        }
    }
}

impl Store {
    /// Opens a file that exists, to write to it, and keeps all others from it: makes, moves and migrates nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] if another process has it open; else as [`open_existing`](Store::open_existing).
    pub fn open_alone(path: &Path) -> Result<Store, StoreError> {
        let conn = bare(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // Before anything is read: then the lock is that of the file, which every process holds that has read it.
        let alone = || {
            conn.busy_timeout(BUSY)?;
            conn.pragma_update_and_check(None, "locking_mode", "exclusive", |_| Ok(()))
        };
        alone().map_err(|error| at(path, fault(error)))?;
        let conn = tuned(conn, path, Synchronous::Normal, BUSY)?;
        if let Found::Nothing = examine(&conn, path)? {
            return Err(StoreError::Damaged("it is empty".to_owned()));
        }
        // Nobody else copies the WAL.
        let tended = || {
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
            conn.pragma_update(None, "wal_autocheckpoint", LONG_WAL)
        };
        tended().map_err(fault)?;
        Ok(Store::of(conn, path, u64::MAX))
    }
}

/// What lies at the path.
enum Found {
    Nothing,
    Ours,
}

fn open_or_make(settings: &Settings) -> Result<Store, StoreError> {
    let path = &settings.path;
    // SQLite would delete the WAL of an empty file.
    if file_length(path) == 0 && file_length(&sidecar(path, "-wal")) > 0 {
        return Err(StoreError::Damaged(
            "it is empty, but its WAL is not".to_owned(),
        ));
    }
    let access = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut conn = connect(path, access, settings.synchronous, BUSY)?;
    if let Found::Nothing = examine(&conn, path)? {
        make(&mut conn)?;
        examine(&conn, path)?;
    }
    let mode: String = conn
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .map_err(fault)?;
    if mode != "wal" {
        let why = format!("{}: it can't have a WAL here, only {mode}", path.display());
        return Err(StoreError::Unavailable(why));
    }
    Ok(Store::of(conn, path, settings.events_kept))
}

/// A connection as all of ours are.
pub fn connect(
    path: &Path,
    access: OpenFlags,
    synchronous: Synchronous,
    busy: Duration,
) -> Result<Connection, StoreError> {
    tuned(bare(path, access)?, path, synchronous, busy)
}

fn bare(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let access = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, access).map_err(|error| at(path, fault(error)))?;
    let writes = access.contains(OpenFlags::SQLITE_OPEN_READ_WRITE);
    if writes && conn.is_readonly("main").map_err(fault)? {
        let why = format!("{}: it may not be written", path.display());
        return Err(StoreError::Unavailable(why));
    }
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(conn)
}

fn tuned(
    conn: Connection,
    path: &Path,
    synchronous: Synchronous,
    busy: Duration,
) -> Result<Connection, StoreError> {
    let synchronous = match synchronous {
        Synchronous::Normal => "normal",
        Synchronous::Full => "full",
    };
    let tune = || {
        // The WAL is copied by the checkpointer. A worker that ends doesn't wait for the disk, and the WAL of a file that
        // turns out to be damaged stays.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        conn.busy_timeout(busy)?;
        conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
        conn.pragma_update(None, "temp_store", "memory")?;
        conn.pragma_update(None, "wal_autocheckpoint", 0)?;
        conn.pragma_update(None, "synchronous", synchronous)
    };
    tune().map_err(|error| at(path, fault(error)))?;
    Ok(conn)
}

fn at(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(why) => {
            StoreError::Unavailable(format!("{}: {why}", path.display()))
        }
        other => other,
    }
}

/// Looks at what is there without changing it. Damage that only a look at all pages would show is found when those are read.
fn examine(conn: &Connection, path: &Path) -> Result<Found, StoreError> {
    // In one transaction: while it lasts nobody can copy the WAL into the file, or shorten that.
    let look = conn
        .unchecked_transaction()
        .map_err(|error| at(path, fault(error)))?;
    let number = |pragma: &str| {
        let value = look.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        value.map_err(|error| at(path, fault(error)))
    };
    let objects: i64 = look
        .query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))
        .map_err(|error| at(path, fault(error)))?;
    let pages = unsigned(number("page_count")?);
    if pages == 0 {
        return Ok(Found::Nothing);
    }
    let application = number("application_id")?;
    // One that is being made has a first page before it has tables.
    if objects == 0 && application == 0 && pages == 1 {
        return Ok(Found::Nothing);
    }
    if application != i64::from(APPLICATION_ID) {
        return Err(StoreError::Damaged(format!(
            "it is another application's, with {objects} tables and such"
        )));
    }
    let found = number("user_version")? / 1000;
    if found > MAJOR {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known: MAJOR,
        });
    }
    if found < MAJOR {
        return Err(StoreError::Damaged(format!(
            "there never was a schema {found}"
        )));
    }
    for table in TABLES {
        let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        let there = look
            .prepare_cached(sql)
            .and_then(|mut sql| sql.exists([table]));
        if !there.map_err(fault)? {
            return Err(StoreError::Damaged(format!("it has no table {table}")));
        }
    }
    // As long as there is something in the WAL, the file may be shorter than it will be.
    let promised = pages * unsigned(number("page_size")?);
    let length = file_length(path);
    if file_length(&sidecar(&own_path(conn, path), "-wal")) == 0 && length < promised {
        let why = format!("it is truncated: {length} bytes, and should have {promised}");
        return Err(StoreError::Damaged(why));
    }
    Ok(Found::Ours)
}

/// The path of the file itself: SQLite keeps the WAL beside that, and not beside a symlink.
pub fn own_path(conn: &Connection, path: &Path) -> PathBuf {
    match conn.path() {
        Some(own) if !own.is_empty() => PathBuf::from(own),
        _ => path.to_owned(),
    }
}

/// Makes the tables: all or nothing, and in the file itself before it has a WAL.
fn make(conn: &mut Connection) -> Result<(), StoreError> {
    make_with(conn, PAGE_SIZE).map_err(fault)
}

/// As [`make`], with pages of another size.
pub fn make_with(conn: &mut Connection, page_size: u32) -> rusqlite::Result<()> {
    conn.pragma_update(None, "page_size", page_size)?;
    conn.pragma_update(None, "auto_vacuum", "incremental")?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let pages: i64 = tx.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let id: i64 = tx.pragma_query_value(None, "application_id", |row| row.get(0))?;
    // Another process may have been faster.
    if pages > 1 || id != 0 {
        return Ok(());
    }
    tx.execute_batch(FIRST)?;
    for step in STEPS {
        tx.execute_batch(step.sql)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", version(STEPS))?;
    tx.commit()
}

/// Gives the file another name, with all that belongs to it.
fn move_aside(path: &Path) -> Result<PathBuf, StoreError> {
    // A symlink stays, and gets a new file.
    let path = fs::read_link(path).map_or_else(
        |_| path.to_owned(),
        |to| path.parent().unwrap_or(Path::new("")).join(to),
    );
    let stamp = time::compact(time::now_ms());
    let mut aside = sidecar(&path, &format!(".damaged-{stamp}"));
    let mut number = 1;
    while aside.symlink_metadata().is_ok() {
        number += 1;
        aside = sidecar(&path, &format!(".damaged-{stamp}-{number}"));
    }
    let moved = || -> io::Result<()> {
        // The file last: without it, SQLite takes what else there is for remains.
        for end in ["-wal", "-journal"] {
            rename_if_there(&sidecar(&path, end), &sidecar(&aside, end))?;
        }
        rename_if_there(&path, &aside)?;
        match fs::remove_file(sidecar(&path, "-shm")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    };
    match moved() {
        Ok(()) => Ok(aside),
        Err(error) => {
            let why = format!("{}: can't be moved aside: {error}", path.display());
            Err(StoreError::Unavailable(why))
        }
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
