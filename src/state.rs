//! What is kept on disk: one SQLite file, `baton.db`.
//!
//! It holds the spools of destinations that don't take their lines fast enough, what was changed at run time, and the
//! history of workers. It is made to be read by a person with `sqlite3`: times are text, payloads are the lines
//! themselves, and views answer the first questions.
//!
//! **Nobody waits for the disk.** One thread has the [`Store`] and writes; a commit goes to the WAL without an fsync
//! (unless [`Synchronous::Full`] asks for it). A second thread has the [`Checkpointer`]: it syncs the WAL and copies it
//! into the file.
//!
//! **Totals are kept, not counted.** Triggers keep the totals of a spool right, whoever inserts and deletes, so a list
//! costs the same for ten rows and ten millions. To purge is to remember up to where: the rows are deleted in small steps
//! later ([`Store::sweep`]).
//!
//! `state/store` alone knows SQL; what is here is plain data.

mod fault;
mod rows;
mod store;
mod time;

use std::path::PathBuf;

pub use fault::{RowError, StoreError};
pub use rows::{
    ChangeRow, Checkpoint, Deleted, Disk, EntryRow, GenerationRow, NewRow, PastChange, Position,
    Row, Size, Total,
};
pub use store::{Change, Checkpointer, Opened, Store};

/// When a commit is safe from a power cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// When the WAL is next synced, by [`Checkpointer::sync`] or a checkpoint. A commit doesn't wait.
    #[default]
    Normal,
    /// At once: every commit waits for the disk.
    Full,
}

/// Where the file is, and how it is written.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file. Beside it SQLite keeps `-wal` and `-shm`.
    pub path: PathBuf,
    /// When a commit is safe.
    pub synchronous: Synchronous,
    /// So many generations, and so many changes of routes, are remembered.
    pub events_kept: u64,
}
