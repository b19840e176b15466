//! What can go wrong, by what is to be done about it.

use std::path::PathBuf;

/// Why the store can't do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A newer Baton has made it, in a way that this one can't read.
    #[error(
        "{}: its schema is {found}, this Baton knows up to {known}: a newer Baton has made it",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its major schema number.
        found: i64,
        /// The newest major schema number that is known here.
        known: i64,
    },
    /// It is no database, truncated, corrupt, or another application's.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// Another process holds a lock, for longer than one waits for it.
    #[error("the database is locked by another process")]
    Busy,
    /// No room on the disk.
    #[error("no room on the disk")]
    Full,
    /// It can't be opened or written: folder, permissions, other I/O errors.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
}

/// Why a row isn't there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// This row can't be read; the others may be. [`Change::set_aside`](super::Change::set_aside) takes it out of the way.
    #[error("row {seq} can't be read: {reason}")]
    Row {
        /// The row's place in the order of its destination.
        seq: i64,
        /// What was found.
        reason: String,
    },
    /// The store has a problem, not the row.
    #[error(transparent)]
    Store(#[from] StoreError),
}
