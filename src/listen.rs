//! Sockets → bytes: accepting, reading TCP and unix streams, UDP datagrams.
//!
//! Everything that a task would lose if it vanished lives outside of it, in the [`Connections`] table: a hand-over
//! looks there, and no task is woken for it.

mod accept;
mod connection;
mod connections;
mod frames;
mod framing;
mod notes;
mod stream;
mod udp;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::gate::Gate;
use crate::handover::Registry;
use crate::intake::Intake;
use crate::ledger::{Ledger, Object};
use crate::sys::{Watched, watch};

pub use accept::{accept, empty_accept_queue};
pub use connection::{Connection, Kind, Lost};
pub use connections::Connections;
pub use framing::Protocol;
pub use stream::{place_inherited, read_stream, read_to_end};
pub use udp::{drain, read_datagrams};

/// What all inputs of a worker share.
#[derive(Debug)]
pub struct Inputs {
    /// Where counters are.
    pub ledger: Arc<Ledger>,
    /// Passed for every read.
    pub gate: Arc<Gate>,
    /// Where lines go.
    pub intake: Arc<Intake>,
    /// Who holds the sockets beside us.
    pub registry: Arc<Registry>,
    /// The clients.
    pub connections: Connections,
    /// Limits.
    pub limits: Limits,
    /// Bytes that were read and wait for room, over all connections.
    pub waiting: AtomicUsize,
    /// Memory of pickles that have begun, over all connections …
    pub frames: AtomicUsize,
    /// … and of those that wait for room.
    pub pickles: AtomicUsize,
    /// A stop has begun: nothing is accepted any more, and no datagram read, by its ordinary task.
    pub stopping: watch::Sender<bool>,
}

/// Limits of input.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// In bytes, without the newline.
    pub max_line: usize,
    /// Of a pickle, in bytes, without its length.
    pub max_frame: usize,
    /// Accepting pauses there.
    pub max_connections: usize,
    /// A silent connection is closed after it.
    pub idle_timeout: Option<Duration>,
}

/// A socket that clients reach.
#[derive(Debug)]
pub struct Listener {
    /// As in the config.
    pub address: String,
    /// `line`, `pickle` or `http`.
    pub kind: String,
    /// SO_COOKIE.
    pub cookie: u64,
    /// Its counters.
    pub object: Object,
    /// The socket. It may not listen yet, and must not be watched before it does: a reactor takes a socket that
    /// doesn't listen for one that was closed, for ever.
    pub socket: OwnedFd,
    /// It came from systemd.
    pub passed: bool,
    /// It was removed from the config: its task ends.
    pub leaving: Notify,
}

impl Inputs {
    /// Waits for the beginning of a stop.
    async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives as long as `self`, so this ends by a stop alone.
        let _stopping = stopping.wait_for(|stopping| *stopping).await;
    }
}

impl Listener {
    /// The socket, watched; it listens now.
    fn watched(&self) -> std::io::Result<Watched> {
        watch(self.socket.try_clone()?)
    }

    /// What its connections speak.
    pub fn protocol(&self) -> Protocol {
        match self.kind.as_str() {
            "pickle" => Protocol::Pickle,
            _ => Protocol::Line,
        }
    }

    /// Whether it receives datagrams.
    pub fn is_udp(&self) -> bool {
        self.address.starts_with("udp://")
    }

    /// Whether what it accepts are TCP connections.
    pub fn is_tcp(&self) -> bool {
        self.address.starts_with("tcp://")
    }
}
