//! Commands to the spool, from the command line by way of the supervisor to the worker that serves.

use serde::{Deserialize, Serialize};

/// What the spool is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum SpoolCommand {
    /// Say where the database is.
    Where,
    /// Add the lines of a file, from where it stands, behind a destination's rows. The file's position moves with what is
    /// committed, and whoever passed the descriptor sees it.
    Replay {
        /// Whose they will be.
        destination: String,
        /// Though the config doesn't have that destination.
        #[serde(default)]
        force: bool,
    },
    /// Drop a destination's rows.
    Purge {
        /// Whose.
        destination: String,
    },
    /// Give a destination the rows of another, behind its own.
    Assign {
        /// Whose they are.
        from: String,
        /// Whose they will be.
        to: String,
        /// Though the config doesn't have that destination.
        #[serde(default)]
        force: bool,
    },
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Outcome {
    /// It is done.
    Done {
        /// How many lines it was about.
        lines: u64,
    },
    /// The answer to `Where`.
    Lies {
        /// The database's path.
        path: String,
    },
    /// No worker serves, or another one takes over: what wasn't done yet is to be asked for again.
    Restarting,
    /// It couldn't be done, or not to its end.
    Failed {
        /// Why.
        reason: String,
    },
}
