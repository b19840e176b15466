//! What waits for the disk, on a thread of its own.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::super::{Checkpoint, Settings, StoreError};
use super::convert::{fault, unsigned};
use super::open::{connect, own_path};
use super::{file_length, sidecar};

/// How long the writer and readers are waited for. While readers are, the writer waits, too.
const WAIT: Duration = Duration::from_millis(100);
/// The WAL is copied beside the writer until no more than this is left: the rest is copied while the writer waits.
const REST: u64 = 1 << 20;
/// A reader that doesn't mean to stay is gone after this.
const PAUSE: Duration = Duration::from_millis(20);
/// How often it is tried to get there, and to have the writer wait.
const ROUNDS: u32 = 3;

/// Beside the [`Store`](super::Store), on a thread of its own, with its own connection.
#[derive(Debug)]
pub struct Checkpointer {
    conn: Connection,
    wal: PathBuf,
    open: Option<File>,
    frame: u64,
}

/// What SQLite says of a checkpoint, in frames.
struct Said {
    busy: bool,
    frames: u64,
    copied: u64,
}

impl Said {
    /// A checkpoint copies all that there was when it began, unless someone still reads what was there before.
    fn is_held(&self) -> bool {
        !self.busy && self.copied < self.frames
    }
}

impl Checkpointer {
    /// Connects to a file that a [`Store`](super::Store) has opened.
    ///
    /// # Errors
    ///
    /// Any but [`StoreError::Newer`].
    pub fn open(settings: &Settings) -> Result<Checkpointer, StoreError> {
        let access = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let conn = connect(&settings.path, access, settings.synchronous, WAIT)?;
        // SQLite opens the WAL with the first look into the file.
        let page = conn.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()));
        page.map_err(fault)?;
        // The last to go tidies up.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
            .map_err(fault)?;
        let page: i64 = conn
            .pragma_query_value(None, "page_size", |row| row.get(0))
            .map_err(fault)?;
        Ok(Checkpointer {
            wal: sidecar(&own_path(&conn, &settings.path), "-wal"),
            open: None,
            frame: unsigned(page) + 24,
            conn,
        })
    }

    /// Waits until all that was committed is safe from a power cut. The writer doesn't wait.
    ///
    /// # Errors
    ///
    /// When the disk says no; what was committed since the last time may be lost with the next power cut.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        match self.synced() {
            Ok(()) => Ok(()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                ) =>
            {
                Err(StoreError::Full)
            }
            Err(error) => {
                let why = format!("{}: {error}", self.wal.display());
                Err(StoreError::Unavailable(why))
            }
        }
    }

    /// Through a descriptor of its own: unlike the file, the WAL has no locks that its closing would drop.
    fn synced(&mut self) -> io::Result<()> {
        let there = match fs::metadata(&self.wal) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.open = None;
                return Ok(());
            }
            there => there?,
        };
        let same = |file: &File| {
            let ours = file.metadata()?;
            Ok::<_, io::Error>((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
        };
        let file = match self.open.take() {
            Some(file) if same(&file)? => file,
            _ => File::open(&self.wal)?,
        };
        self.open.insert(file).sync_data()
    }

    /// Copies the WAL into the file, beside the writer. If the WAL is longer than `limit` bytes it is also begun anew:
    /// for that the writer has to wait, for what it takes to copy the last MiB or so and sync it, and up to 100 ms for
    /// readers. While a reader is known to be in the way, nobody waits.
    ///
    /// # Errors
    ///
    /// Nothing is lost: the WAL goes on. Neither writer nor readers that are in the way are an error.
    pub fn checkpoint(&mut self, limit: u64) -> Result<Checkpoint, StoreError> {
        let mut said = self.run("PASSIVE")?;
        let long = said.frames * self.frame > limit;
        if long {
            for _ in 0..ROUNDS {
                if said.is_held() {
                    thread::sleep(PAUSE);
                }
                let before = said.frames;
                said = self.run("PASSIVE")?;
                let new = said.frames.saturating_sub(before);
                if !said.is_held() && new * self.frame < REST {
                    break;
                }
            }
        }
        let held_by_reader = long && said.is_held();
        if long && !held_by_reader {
            // One that was held up for long is made short again.
            let grown = file_length(&self.wal) > limit.saturating_mul(2);
            let mode = if grown { "TRUNCATE" } else { "RESTART" };
            for _ in 0..ROUNDS {
                if !self.run(mode)?.busy {
                    break;
                }
            }
        }
        Ok(Checkpoint {
            wal: file_length(&self.wal),
            held_by_reader,
        })
    }

    /// Copies the WAL into the file and makes it empty, for a daemon that has nothing to do.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] if the writer or a reader is in the way.
    pub fn truncate(&mut self) -> Result<(), StoreError> {
        match self.run("TRUNCATE")?.busy {
            true => Err(StoreError::Busy),
            false => Ok(()),
        }
    }

    fn run(&self, mode: &str) -> Result<Said, StoreError> {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        let said = self.conn.query_row(&sql, (), |row| {
            Ok(Said {
                busy: row.get(0)?,
                frames: unsigned(row.get(1)?),
                copied: unsigned(row.get(2)?),
            })
        });
        said.map_err(fault)
    }
}
