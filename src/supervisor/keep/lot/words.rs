//! What is said in a lot. Supervisors of different versions read each other's: after a hot upgrade the one on disk is newer
//! than the one that was killed, after a downgrade older.
//!
//! A kind that a reader doesn't know is left out, with its descriptor. So new kinds and fields may come, and meanings never
//! change; what can't be left out needs another [`VERSION`], which others don't read at all.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::handover::Item;

/// Of all that is said in a lot.
pub const VERSION: u32 = 1;

/// Said in the socket pair whose end is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Outer {
    /// Its descriptor is the end of another pair, in which the next part of the log is.
    Part {
        /// Of what is said in it.
        version: u32,
    },
}

/// Said in a part. What is taken is of the type `K`: a kind, or what may be one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Message<K> {
    /// One descriptor each.
    Take { kept: Vec<K> },
    /// The message is in the memfd that is the first descriptor.
    Long,
    /// These are held no more.
    Gone {
        /// Sockets.
        cookies: Vec<u64>,
        /// Queues, by destination.
        queues: Vec<String>,
    },
    /// Nothing is to be kept any more.
    End,
}

/// What a descriptor is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// A connection or queue.
    Held(Item),
    /// A listener that the supervisor bound, and its socket file by device and inode.
    Bound(Item, Option<(PathBuf, u64, u64)>),
    /// The ledger.
    Ledger,
    /// The binary that last worked.
    Program,
    /// The config that last worked.
    Config,
    /// The generations there were, as JSON.
    History,
    /// A stop was asked for. The descriptor is an empty memfd: this is said like all else.
    Stopping,
}

/// What a descriptor is known by; a later one takes the place of an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A socket, by its cookie.
    Socket(u64),
    /// A queue, by its destination.
    Queue(String),
    /// There is one of them.
    Only(&'static str),
}

impl Kept {
    /// What it is known by.
    pub fn key(&self) -> Key {
        match self {
            Kept::Held(Item::Queue { destination, .. }) => Key::Queue(destination.clone()),
            Kept::Held(item) | Kept::Bound(item, _) => Key::Socket(item.cookie().unwrap_or(0)),
            Kept::Ledger => Key::Only("ledger"),
            Kept::Program => Key::Only("program"),
            Kept::Config => Key::Only("config"),
            Kept::History => Key::Only("history"),
            Kept::Stopping => Key::Only("stopping"),
        }
    }
}
