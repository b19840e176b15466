//! Changing the table while it runs: validate, build, commit, swap, answer.
//!
//! What the table makes of a worker is one thing, [`InForce`], that a change replaces as a whole. The change is written
//! before it is in force and answered after; a batch sees the one or the other. One change is made at a time.
//!
//! While a successor is being prepared nothing is changed: it has read what there is. Nor while it is on probation, so that
//! a worker that is called back has what it had. A commit that was under way at a freeze is found by the
//! [refresh](refresh) with which whoever serves begins; before that has succeeded nothing is written.

mod build;
mod kept;
mod leaving;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::relay::{Relay, lock};
use crate::admin::desk::{Asked, BacklogOf, Outcome, Refusal, What};
use crate::amend::{
    Amended, Backlog, Change, Document, Row, in_the_way, rows_from_json, rows_to_json,
};
use crate::config::Config;
use crate::destination::{Destination, State};
use crate::intake::{Snapshot, now_ms};
use crate::spool::{Amendment, Errand, RESTART, within};
use crate::state::Store;

pub(super) use kept::{Kept, read, refresh};
pub(super) use leaving::Leaving;

/// How long a change waits for the end of a restart.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it waits for the database.
const WRITE: Duration = Duration::from_secs(10);
/// How old a line may be beyond its destination's `flush`, and be on its way.
const ON_ITS_WAY: Duration = Duration::from_secs(1);
/// How often it is looked whether the restart is over, or the gate open.
const LOOK: Duration = Duration::from_millis(10);

/// What the table makes of a worker. Replaced as a whole.
#[derive(Debug)]
pub(super) struct InForce {
    /// The rules, and how they came to be.
    pub document: Document,
    /// The file's config with these rules.
    pub config: Config,
    /// The number of the last change that is in the database and in here.
    pub changes: u64,
    /// So many changes since then aren't written.
    pub volatile: u64,
    /// Those of the rules, in the order of the routes.
    pub destinations: Vec<Arc<Destination>>,
    /// What batches see of it.
    pub snapshot: Arc<Snapshot>,
}

impl InForce {
    /// For If-Match: unlike that of any other table of this service. Changes that aren't written are counted by each worker
    /// for itself, so it says which one.
    pub fn version(&self, relay: &Relay) -> String {
        let (hash, changes) = (&relay.config_hash, self.changes);
        match self.volatile {
            0 => format!("{hash}.{changes}"),
            volatile => format!("{hash}.{changes}+{}.{volatile}", relay.amending.born_ms),
        }
    }
}

/// Whether the table may be changed now.
#[derive(Debug)]
pub(super) struct Amending {
    /// When this worker was put together, in milliseconds since 1970.
    born_ms: u64,
    /// One change at a time.
    one: Mutex<()>,
    /// A table is being put in force: no hand-over begins meanwhile.
    pub swapping: Mutex<()>,
    /// A successor is being prepared.
    preparing: AtomicBool,
    /// This worker's probation is over.
    settled: AtomicBool,
    /// What is in force is what the database has, but for what is volatile.
    refreshed: AtomicBool,
    /// Destinations whose lines are being put away: nobody can have their queues. Looked at under the lock of those that
    /// leave.
    going: Mutex<HashSet<String>>,
    /// How often the rules in force were others.
    pub changed: AtomicU64,
}

impl Amending {
    pub fn new() -> Amending {
        Amending {
            born_ms: now_ms(),
            one: Mutex::default(),
            swapping: Mutex::default(),
            preparing: AtomicBool::new(false),
            settled: AtomicBool::new(false),
            refreshed: AtomicBool::new(false),
            going: Mutex::default(),
            changed: AtomicU64::new(0),
        }
    }

    /// A successor is being prepared, or was given up.
    pub fn prepares(&self, successor: bool) {
        self.preparing.store(successor, Ordering::SeqCst);
    }

    fn is_preparing(&self) -> bool {
        self.preparing.load(Ordering::SeqCst)
    }

    /// This worker begins to serve: others may have changed the database.
    pub fn begins(&self) {
        self.refreshed.store(false, Ordering::SeqCst);
    }

    fn has_refreshed(&self) {
        self.refreshed.store(true, Ordering::SeqCst);
    }

    /// Probation is over.
    pub fn settled(&self) {
        self.settled.store(true, Ordering::SeqCst);
    }

    /// Whether a change may be made now.
    pub fn may(&self) -> bool {
        self.settled.load(Ordering::SeqCst) && !self.is_preparing()
    }

    /// Does this unless a table is being made, whose parts nobody sees yet. Doesn't wait.
    pub fn unless_busy(&self, act: impl FnOnce()) {
        if let Ok(_one) = self.one.try_lock() {
            act();
        }
    }
}

/// What a change would make.
pub(super) fn preview(relay: &Arc<Relay>, asked: &Asked) -> Result<Outcome, Refusal> {
    let now = relay.in_force();
    let amended = amended(relay, &now, asked)?;
    Ok(Outcome {
        version: now.version(relay),
        id: None,
        backlog: backlog(&now, &amended),
        preview: amended.preview,
    })
}

/// Makes a change. It returns when it is in force.
pub(super) fn change(relay: &Arc<Relay>, asked: &Asked) -> Result<Outcome, Refusal> {
    let began = Instant::now();
    let amending = &relay.amending;
    let is_current = || asked.volatile || amending.refreshed.load(Ordering::SeqCst);
    while !amending.may() || !is_current() {
        if began.elapsed() > PATIENCE || !relay.serving.load(Ordering::SeqCst) {
            return Err(
                match amending.may() && relay.serving.load(Ordering::SeqCst) {
                    true => Refusal::Database("what was changed before can't be read".to_owned()),
                    false => Refusal::Restarting,
                },
            );
        }
        std::thread::sleep(LOOK);
    }
    let _one = lock(&relay.amending.one);
    if !relay.serving.load(Ordering::SeqCst) || !amending.may() || !is_current() {
        return Err(Refusal::Restarting);
    }
    let now = relay.in_force();
    let amended = amended(relay, &now, asked)?;
    let backlog = backlog(&now, &amended);
    if !backlog.is_empty() && asked.backlog.is_none() {
        return Err(Refusal::Backlog(backlog));
    }
    let built = build::build(relay, &now, amended.document.clone())
        .map_err(|error| Refusal::Failed(error.to_string()))?;
    let id = match asked.volatile {
        true => None,
        false => match write(relay, asked, &amended, &backlog) {
            Ok(id) => Some(id),
            Err(refusal) => {
                built.give_up(relay);
                return Err(refusal);
            }
        },
    };
    let changes = id.unwrap_or(now.changes);
    let volatile = match id {
        Some(_) => now.volatile,
        None => now.volatile + 1,
    };
    let how = asked.backlog.unwrap_or(Backlog::Drain);
    built.swap(relay, changes, volatile, how);
    let us = began.elapsed().as_micros() as u64;
    tracing::info!(
        via = asked.via,
        peer = asked.peer,
        command = asked.command,
        id,
        us,
        "the table was changed"
    );
    Ok(Outcome {
        version: relay.in_force().version(relay),
        id,
        preview: amended.preview,
        backlog,
    })
}

fn amended(relay: &Relay, now: &InForce, asked: &Asked) -> Result<Amended, Refusal> {
    let version = now.version(relay);
    if asked
        .if_version
        .as_ref()
        .is_some_and(|wanted| *wanted != version)
    {
        return Err(Refusal::Stale { version });
    }
    let undo;
    let change = match &asked.what {
        What::Change(change) => change,
        What::Undo(id) => {
            undo = Change::Restore {
                rows: undo_of(relay, now, *id)?,
            };
            &undo
        }
    };
    Ok(now.document.amend(change, asked.volatile, now_ms())?)
}

/// The rows that undo a change, if what it left behind is still there.
fn undo_of(relay: &Relay, now: &InForce, id: u64) -> Result<Vec<Row>, Refusal> {
    let path = relay.spool.health().path;
    let store = Store::open_existing(&path, false);
    let found = store.and_then(|store| Ok((store.undo_of(id)?, store.undo_after(id)?)));
    let (rows, later) = found.map_err(|error| Refusal::Database(error.to_string()))?;
    let read = |rows: &str| rows_from_json(rows).map_err(Refusal::Failed);
    let rows = read(&rows.ok_or(Refusal::NoSuchChange(id))?)?;
    let later = later.iter().map(|(id, rows)| Ok((*id, read(rows)?)));
    let later: Vec<_> = later.collect::<Result<_, Refusal>>()?;
    let by = in_the_way(&now.document, &rows, &later);
    match by.is_empty() {
        true => Ok(rows),
        false => Err(Refusal::Superseded { id, by }),
    }
}

/// What was asked for, as the history has it: also what was to become of lines, and of how many.
fn with_backlog(asked: &Asked, backlog: &[BacklogOf]) -> String {
    let command = &asked.command;
    match asked.backlog {
        Some(how) if !backlog.is_empty() => {
            let lines: u64 = backlog.iter().map(|one| one.queued + one.spooled).sum();
            format!("{command} ({}: {lines} lines)", how.word())
        }
        _ => command.clone(),
    }
}

/// Whether what it has is on its way: all of it came in just now, and waits for company or for an acknowledgement.
fn delivers(destination: &Destination) -> bool {
    // Before it was noted for the first time, which is within a second, it is new.
    let oldest = destination.queue.send.oldest_at();
    let age = oldest.map_or(0, |at| now_ms().saturating_sub(at));
    let age = Duration::from_millis(age);
    destination.health().state == State::Up
        && destination.queue.spooled_lines() == 0
        && age < destination.spec.flush + ON_ITS_WAY
}

/// What destinations that go have, those that have any. Nobody is asked about lines that are all but delivered.
fn backlog(now: &InForce, amended: &Amended) -> Vec<BacklogOf> {
    let gone = &amended.preview.destinations_removed;
    let going = now
        .destinations
        .iter()
        .filter(|d| gone.contains(&d.spec.id) && !delivers(d));
    let of = |destination: &Arc<Destination>| BacklogOf {
        destination: destination.spec.id.clone(),
        queued: destination.queue.queued_lines(),
        spooled: destination.queue.spooled_lines(),
    };
    going
        .map(of)
        .filter(|has| has.queued + has.spooled > 0)
        .collect()
}

/// Writes a change, and tells its number.
fn write(
    relay: &Relay,
    asked: &Asked,
    amended: &Amended,
    backlog: &[BacklogOf],
) -> Result<u64, Refusal> {
    let (mut set, mut dropped) = (Vec::new(), Vec::new());
    for row in &amended.rows {
        match row.lasting() {
            Some(entry) => set.push(kept::row(&amended.document, row.kind, &row.key, entry)),
            None => dropped.push((row.kind.as_str().to_owned(), row.key.clone())),
        }
    }
    let taken = Arc::new(AtomicBool::new(false));
    let answer = relay.spool.ask(Errand::Amend(Amendment {
        set,
        dropped,
        at_ms: now_ms(),
        via: asked.via.to_owned(),
        peer: asked.peer.clone(),
        command: with_backlog(asked, backlog),
        undo: rows_to_json(&amended.undo),
        taken: taken.clone(),
    }));
    within(&answer, &taken, WRITE).map_err(|error| match &error[..] {
        RESTART => Refusal::Restarting,
        _ => Refusal::Database(error),
    })
}
