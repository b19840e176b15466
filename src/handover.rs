//! What the supervisor and its workers say to each other, and how.
//!
//! One SOCK_SEQPACKET socketpair a worker. A message is JSON with a `type`, at most 64 KiB, with
//! descriptors beside it; larger content goes in a sealed memfd. Unknown fields are ignored,
//! unknown types refused; new fields may be added to protocol [`PROTOCOL`], meanings never change.
//!
//! ```text
//! new → S    hello                       S → new    welcome (ledger, config of a recovery)
//! new → S    listeners                   S → new    take* (each answered by taken), all
//! new → S    ready                       S → old    freeze
//! old → S    frozen (partial lines)      S → new    frozen
//! new → S    confirmed                   S → new    go
//! new → S    running                     S → old    pass-windows
//! old → S    windows                     S → new    windows
//!                                        … probation … S → old retire, S → new settled
//! ```

mod link;
mod partials;
mod registry;
mod spool;
mod trace;

use serde::{Deserialize, Serialize};

pub use link::{Client, Link, Outbox};
pub use partials::{Frozen, FrozenWriter, Partial};
pub use registry::Registry;
pub use spool::{Outcome, SpoolCommand};
pub use trace::{MAX_TRACED, MAX_TRACED_BYTES, Traced};

/// The version of this protocol. A worker names the range it speaks, the supervisor picks.
pub const PROTOCOL: u32 = 1;

/// From a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromWorker {
    /// First message.
    Hello {
        /// The lowest protocol it speaks.
        protocol_min: u32,
        /// The highest.
        protocol_max: u32,
        /// Its version, for people.
        version: String,
        /// It knows the message `windows`, and `pass-windows`.
        #[serde(default)]
        windows: bool,
        /// It changes its table at run time, and knows the message `preparing`.
        #[serde(default)]
        changes: bool,
        /// It knows [`Item::Session`].
        #[serde(default)]
        sessions: bool,
        /// It knows the token of a welcome.
        #[serde(default)]
        token: bool,
    },
    /// It is still preparing, or still keeping what a stop left undelivered: extends the deadline.
    Progress {
        /// What it does, for people.
        step: String,
    },
    /// The sockets its config listens on.
    Listeners {
        /// All of them.
        wanted: Vec<Wanted>,
    },
    /// A batch has arrived whole, each descriptor being what it was said to be.
    Taken {
        /// Its number.
        batch: u32,
        /// How many descriptors it had.
        count: usize,
    },
    /// It could take over now. Beside it: the config it compiled, sealed.
    Ready {
        /// A short name of the config's content, for people.
        config_hash: String,
    },
    /// It can't, and ends.
    Refused {
        /// Why, for people; several lines perhaps.
        reason: String,
        /// The exit status that the program has when this was its first start.
        status: i32,
    },
    /// It has stopped reading, writing and accepting. Beside it: [`Frozen`], sealed; before that, if it has sessions, what
    /// is to be known of them.
    Frozen {
        /// The successor that `freeze` named, so that a late answer is known as one.
        successor: u64,
    },
    /// It holds exactly what the old one held.
    Confirmed,
    /// Its loops run.
    Running,
    /// It is alive; each second.
    Tick,
    /// Sockets or queues that shall outlive it; one descriptor each.
    Register {
        /// What they are.
        items: Vec<Item>,
    },
    /// It is done with these.
    Release {
        /// Sockets, by cookie.
        cookies: Vec<u64>,
        /// Queues, by destination.
        queues: Vec<String>,
    },
    /// The answer to `pass-windows`: beside it what it has in aggregation windows, and the order of points, sealed; nothing
    /// if that can't be passed.
    Windows {
        /// For whom.
        successor: u64,
    },
    /// Someone asked it for a reload.
    Reload,
    /// The answer to `Report`; beside it the JSON, sealed.
    Report {
        /// The question's number.
        id: u64,
    },
    /// The answer to `Spool`, once it is done.
    Spooled {
        /// The command's number.
        id: u64,
        /// What came of it.
        outcome: Outcome,
    },
    /// The answer to `Trace`; beside it what was asked for, if it is done.
    Traced {
        /// The question's number.
        id: u64,
        /// What came of it.
        outcome: Traced,
    },
    /// It has stopped as it was told, and ends.
    Stopped {
        /// For people: what could not be delivered.
        summary: String,
    },
}

/// From the supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromSupervisor {
    /// Answers `hello`. Beside it: the ledger; for a recovery also the config to use.
    Welcome {
        /// The protocol to speak.
        protocol: u32,
        /// The number of this worker.
        generation: u64,
        /// Why it was started.
        origin: Origin,
        /// The config's path.
        config: String,
        /// Where to write, at its end, what its CPU time went to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        profile: Option<String>,
        /// The supervisor knows [`Item::Session`].
        #[serde(default)]
        sessions: bool,
        /// The last descriptor is a token: while it isn't hung up, what the supervisor holds is kept though it is killed.
        /// Given to who knows this.
        #[serde(default)]
        token: bool,
    },
    /// Sockets and queues to take over, one descriptor each.
    Take {
        /// Counted from 0; to be answered by `taken`.
        batch: u32,
        /// What they are.
        items: Vec<Item>,
    },
    /// The old worker is done with these.
    Released {
        /// Sockets, by cookie.
        cookies: Vec<u64>,
        /// Queues, by destination.
        queues: Vec<String>,
    },
    /// The listeners it wants can't be had.
    Refuse {
        /// Why.
        reason: String,
    },
    /// Everything that is held was passed; what follows are changes.
    All,
    /// A successor is being prepared: its table is read from the database by now, so nothing changes it any more. Said to who
    /// knows this.
    Preparing {
        /// Its number; none: it was given up.
        successor: Option<u64>,
    },
    /// Stop reading, writing and accepting; answer `frozen`.
    Freeze {
        /// The generation that takes over.
        successor: u64,
    },
    /// Go on: the successor failed.
    Thaw {
        /// The successor had begun: positions may have moved, and what it registered was sent
        /// before this.
        stale: bool,
    },
    /// What the old worker knew; beside it [`Frozen`], and behind that what it said of its sessions, if it did. To be
    /// answered by `confirmed`.
    Frozen,
    /// The old worker is gone: positions are those of the ledger and the kernel. Answered by
    /// `confirmed`.
    Recover,
    /// It owns everything now.
    Go,
    /// The successor serves: pass it what is in windows, by `windows`. Said to who has said that it knows this.
    PassWindows {
        /// The generation that has taken over.
        successor: u64,
    },
    /// What the old worker had in windows, beside it; or nothing, since none will come. Said to who knows this, once it
    /// serves.
    Windows,
    /// Its probation is over.
    Settled {
        /// Listeners that the config lacks: empty their accept queue, then release them.
        leaving: Vec<u64>,
    },
    /// A successor serves: exit.
    Retire,
    /// Deliver what can be, and exit.
    Stop {
        /// At most this long.
        timeout_ms: u64,
    },
    /// Answer with the status document.
    Report {
        /// The question's number.
        id: u64,
    },
    /// Do something to the spool, and answer `spooled` when it is done. Beside it: the file to replay.
    Spool {
        /// The command's number.
        id: u64,
        /// What to do.
        command: SpoolCommand,
    },
    /// Say what becomes of the metrics beside, and answer `traced`.
    Trace {
        /// The question's number.
        id: u64,
    },
    /// The generations there were, for the status page.
    History {
        /// Oldest first.
        generations: Vec<Generation>,
        /// All that the supervisor holds would outlive it; none where nobody keeps it.
        #[serde(default)]
        kept: Option<bool>,
    },
}

/// Why a worker was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The first one.
    Start,
    /// To take over from a living one.
    Reload,
    /// Its predecessor died.
    Crash,
}

impl Origin {
    /// As in messages and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::Start => "start",
            Origin::Reload => "reload",
            Origin::Crash => "crash",
        }
    }
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// `line` or `http`.
    pub kind: String,
    /// `tcp://…`, `udp://…` or `unix:…`.
    pub address: String,
}

/// A socket or a queue that is passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Item {
    /// A listening or UDP socket.
    Listener {
        /// What it serves.
        kind: String,
        /// Its address.
        address: String,
        /// SO_COOKIE.
        cookie: u64,
        /// The config doesn't name it: it came from systemd, or will leave after probation.
        #[serde(default)]
        unlisted: bool,
        /// It came from systemd: what waits on it at a stop stays there.
        #[serde(default)]
        passed: bool,
    },
    /// A client's connection.
    Connection {
        /// SO_COOKIE.
        cookie: u64,
        /// Its slot in the ledger.
        slot: u32,
        /// The address it came in on.
        listener: String,
    },
    /// A session of commands. Said to who knows this.
    Session {
        /// SO_COOKIE.
        cookie: u64,
        /// The address it came in on.
        listener: String,
    },
    /// A connection to a destination.
    Outbound {
        /// SO_COOKIE.
        cookie: u64,
        /// The destination's id.
        destination: String,
    },
    /// A destination's ring.
    Queue {
        /// The destination's id.
        destination: String,
        /// Bytes.
        size: u64,
        /// The destination as it was configured, in case the new config lacks it.
        spec: serde_json::Value,
    },
}

impl Item {
    /// Its cookie, if it is a socket.
    pub fn cookie(&self) -> Option<u64> {
        match self {
            Item::Listener { cookie, .. }
            | Item::Connection { cookie, .. }
            | Item::Session { cookie, .. }
            | Item::Outbound { cookie, .. } => Some(*cookie),
            Item::Queue { .. } => None,
        }
    }
}

/// A worker there was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Its number, from 1.
    pub id: u64,
    /// Its process.
    pub pid: u32,
    /// Its version; empty when it never said.
    pub version: String,
    /// The config it ran; empty when it never was ready.
    pub config_hash: String,
    /// Why it was started.
    pub reason: Origin,
    /// RFC 3339.
    pub started_at: String,
    /// When it began to serve.
    pub serving_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// `starting`, `serving`, `retired`, `refused: …`, `crashed: …`, `stopped`.
    pub outcome: String,
    /// From `freeze` to its first full loop.
    pub pause_us: Option<u64>,
}

/// To the supervisor's control socket, from the command line: one message, one answer (before it `watching`, if asked for).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Request {
    /// Start the binary and config on disk; answered when probation is over.
    Reload {
        /// Say `watching` when probation begins. Who doesn't ask for it may not know the word.
        #[serde(default)]
        watched: bool,
    },
    /// Answered with the status document.
    Status,
    /// Stop the service; answered at once.
    Stop,
    /// Do something to the spool; answered when it is done, or can't be. Beside it: the file to replay.
    Spool {
        /// What to do.
        command: SpoolCommand,
    },
    /// Say what becomes of the metrics beside.
    Trace,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Answer {
    /// The new worker serves and may still be refused: the answer follows when its probation is over.
    Watching {
        /// Its number.
        generation: u64,
        /// How long probation takes.
        probation_ms: u64,
    },
    /// The new worker serves.
    Reloaded {
        /// Its number.
        generation: u64,
        /// From `freeze` to its first full loop; none when there was no old worker.
        pause_us: Option<u64>,
    },
    /// It doesn't; nothing changed.
    Refused {
        /// Why.
        reason: String,
    },
    /// The supervisor stops.
    Stopping,
    /// What came of a command to the spool.
    Spooled {
        /// That.
        outcome: Outcome,
    },
    /// What becomes of metrics.
    Traced {
        /// What came of the question.
        outcome: Traced,
        /// A list, once the client has put it in its place.
        #[serde(default)]
        traces: serde_json::Value,
    },
    /// The status. Beside it the serving worker's part, as JSON in a sealed memfd; none while no worker
    /// serves.
    Status {
        /// The supervisor's part.
        #[serde(default)]
        supervisor: serde_json::Value,
        /// Workers there were, the newest last.
        #[serde(default)]
        generations: Vec<Generation>,
        /// The worker's part, once the client has put it in its place.
        #[serde(default)]
        worker: serde_json::Value,
    },
}
