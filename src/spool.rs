//! The spool: what a destination can't take now lies in the database, and is replayed later.
//!
//! One thread does it all, since SQLite has one writer. It empties the intake ring of each queue that spools into rows, and
//! fills the send ring from them. The order of a destination's lines is: its send ring, its rows, its intake ring.
//!
//! ```text
//! intake ring ──rows, `spool_position`, commit──► database ──row, `Cursor`, one ledger commit──► send ring
//!                                                    ▲                                             │
//!                                                    └────── deleted once the tail has passed it ──┘
//! ```
//!
//! **Once, and exactly once.** A transaction writes rows and how far into the intake ring they reach; the ring's tail moves after the
//! commit. Who takes over, after a hand-over or a kill, first takes SQLite's write lock, so that a commit under way has happened
//! or not, and then moves the tail to what the database says. A row stays until TCP has acknowledged its lines, but `Cursor`
//! says that it is in the send ring, which a successor takes over. So a hand-over waits for no commit, and nothing is there twice.
//!
//! A destination that was down for a second has its send ring written to rows too (`front`): a copy, for the case that the
//! power fails; those rows count as being in the ring.

mod account;
mod anew;
mod engine;
mod errand;
mod front;
mod hand;
mod pass_over;
mod replay;
mod take;
mod tend;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::destination::Destination;
use crate::gate::Gate;
use crate::state::{Settings, Total};

pub use anew::Keeps;
use errand::Pending;
pub use errand::{Amendment, Done, Errand, Kept, RESTART, Reply, within};
pub use hand::Hand;

/// What the spool of a worker needs.
#[derive(Debug)]
pub struct Plan {
    /// The database.
    pub settings: Settings,
    /// The most that all spools may take, with the database's overhead and its write-ahead log, in bytes.
    pub max_size: u64,
    /// Passed by whoever changes a ring.
    pub gate: Arc<Gate>,
    /// Those that the config has.
    pub destinations: Vec<Arc<Destination>>,
    /// For timers: nothing of the spool runs on its threads.
    pub runtime: Handle,
}

/// The spool's state, for people.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, until it is well again.
    pub error: Option<String>,
    /// Where the last damaged file was moved to.
    pub moved_aside: Option<PathBuf>,
    /// The file's length in bytes.
    pub file: u64,
    /// Bytes of it that are free.
    pub free: u64,
    /// How much of it may be in use: `max_size`, without the log's share.
    pub limit: u64,
    /// The length of its write-ahead log.
    pub wal: u64,
    /// A reader keeps that from being emptied.
    pub wal_held: bool,
    /// Why it couldn't be copied into the file, the last time that was tried.
    pub log_error: Option<String>,
    /// By destination, those that no config has included: rows that are in a send ring count.
    pub totals: BTreeMap<String, Total>,
}

/// The handle of a worker's spool.
#[derive(Debug)]
pub struct Spool {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the spool's threads and the worker both see.
#[derive(Debug)]
struct Shared {
    /// There is something to do.
    wanted: Arc<Notify>,
    /// The destinations there are from now on, if they are others.
    destinations: Mutex<Option<Vec<Arc<Destination>>>>,
    errands: Mutex<VecDeque<Pending>>,
    health: Mutex<Health>,
    /// Who has the table of rules.
    table: OnceLock<Weak<dyn Keeps>>,
    /// Probation is over: the schema may be brought up to date.
    settled: AtomicBool,
    /// This worker is frozen: no transaction begins.
    frozen: AtomicBool,
    /// How often it was: what is known of rings and database counts until then.
    freezes: AtomicU64,
    /// Something was written since the log was last synced.
    dirty: AtomicBool,
    /// Nothing is replayed any more.
    stopping: AtomicBool,
    /// Which database is open, counted since the start; 0: none is.
    opened: AtomicU64,
    /// The log was so long when it was wanted shorter; 0: it isn't.
    pressed: AtomicU64,
    ending: AtomicBool,
}

impl Shared {
    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Whether rings and database are this worker's, and were since that freeze.
    fn is_current(&self, freezes: u64) -> bool {
        !self.frozen.load(Ordering::SeqCst) && self.freezes.load(Ordering::SeqCst) == freezes
    }

    fn errands(&self) -> MutexGuard<'_, VecDeque<Pending>> {
        self.errands.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Spool {
    /// Starts the thread; it touches nothing before [`Spool::open`].
    ///
    /// # Errors
    /// When there can't be one more thread.
    pub fn start(plan: Plan) -> std::io::Result<Spool> {
        let shared = Arc::new(Shared {
            wanted: Arc::new(Notify::new()),
            destinations: Mutex::default(),
            errands: Mutex::default(),
            health: Mutex::new(Health {
                path: plan.settings.path.clone(),
                limit: plan.max_size.saturating_sub(tend::log_share(plan.max_size)),
                ..Health::default()
            }),
            table: OnceLock::new(),
            settled: AtomicBool::new(false),
            frozen: AtomicBool::new(true),
            freezes: AtomicU64::new(0),
            dirty: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            opened: AtomicU64::new(0),
            pressed: AtomicU64::new(0),
            ending: AtomicBool::new(false),
        });
        for destination in &plan.destinations {
            destination.queue.attach_spool(&shared.wanted);
        }
        let engine = engine::Engine::new(plan, shared.clone());
        let thread = std::thread::Builder::new()
            .name("baton-spool".into())
            .spawn(move || engine.run())?;
        Ok(Spool {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// This worker serves: rings and database are its own.
    pub fn open(&self) {
        self.shared.frozen.store(false, Ordering::SeqCst);
        self.shared.wanted.notify_one();
    }

    /// Lets go of the database: what is being committed is committed, nothing more begins. Doesn't wait.
    pub fn freeze(&self) {
        // In this order: who sees the new count sees that it is frozen, or that it was thawed since.
        self.shared.frozen.store(true, Ordering::SeqCst);
        self.shared.freezes.fetch_add(1, Ordering::SeqCst);
    }

    /// The destinations are these from now on, those that leave included. Errands that are asked for later see them.
    pub fn serve(&self, destinations: Vec<Arc<Destination>>) {
        for destination in &destinations {
            destination.queue.attach_spool(&self.shared.wanted);
        }
        let mut next = self.shared.destinations.lock();
        *next.as_deref_mut().unwrap_or_else(|e| e.get_mut()) = Some(destinations);
        drop(next);
        self.shared.wanted.notify_one();
    }

    /// A stop has begun: what is in the database stays there.
    pub fn stop_replaying(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
    }

    /// Probation is over.
    pub fn settled(&self) {
        self.shared.settled.store(true, Ordering::SeqCst);
        self.shared.wanted.notify_one();
    }

    /// Has something done, in its turn.
    pub fn ask(&self, errand: Errand) -> std::sync::mpsc::Receiver<Done> {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        self.shared.errands().push_back(Pending {
            errand,
            lines: 0,
            reply,
        });
        self.shared.wanted.notify_one();
        answer
    }

    /// Its state, for people.
    pub fn health(&self) -> Health {
        self.shared.health().clone()
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        self.shared.wanted.notify_one();
        let thread = self.thread.lock().unwrap_or_else(|e| e.into_inner()).take();
        // It ends at the next look; what it was doing is committed or never was.
        drop(thread);
    }
}

/// Says that there is no such destination, and which there are.
pub fn unknown(id: &str, known: &[&str], named: usize) -> String {
    let mut text = format!("there is no destination {id:?} in the config; ");
    match known.len() {
        0 => text.push_str("it has none"),
        n => {
            text.push_str(&format!("it has {}", known[..n.min(named)].join(", ")));
            if n > named {
                text.push_str(&format!(" and {} others", n - named));
            }
        }
    }
    text + " (--force: nevertheless)"
}
