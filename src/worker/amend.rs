//! Changing the table while it runs: validate, build, commit, swap, answer.
//!
//! What the table makes of a worker is one thing, [`InForce`], that a change replaces as a whole. The change is written
//! before it is in force and answered after; a batch sees the one or the other. One change is made at a time.
//!
//! While a successor is being prepared nothing is changed: it has read what there is. Nor while it is on probation, so that
//! a worker that is called back has what it had. A commit that was under way at a freeze is found by the
//! [refresh](refresh) with which whoever serves begins.

mod build;

use std::collections::{BTreeMap, HashSet};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::relay::{Relay, lock};
use crate::admin::desk::{Asked, BacklogOf, Outcome, Refusal, What};
use crate::amend::{Amended, Backlog, Change, Document, Entry, Row, rows_from_json, rows_to_json};
use crate::config::{Config, RuleKind};
use crate::destination::{Destination, State};
use crate::intake::{Snapshot, now_ms};
use crate::ledger::Cell;
use crate::spool::{Amendment, Errand, RESTART};
use crate::state::{EntryRow, Store, StoreError};

pub(super) use build::Leaving;

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
    /// For If-Match: unlike that of any other table of this service.
    pub fn version(&self, config_hash: &str) -> String {
        match self.volatile {
            0 => format!("{config_hash}.{}", self.changes),
            volatile => format!("{config_hash}.{}+{volatile}", self.changes),
        }
    }
}

/// Whether the table may be changed now.
#[derive(Debug, Default)]
pub(super) struct Amending {
    /// One change at a time.
    one: Mutex<()>,
    /// A table is being put in force: no hand-over begins meanwhile.
    pub swapping: Mutex<()>,
    /// A successor is being prepared.
    preparing: AtomicBool,
    /// This worker's probation is over.
    settled: AtomicBool,
    /// Destinations whose lines are being put away: nobody can have their queues. Looked at under the lock of those that
    /// leave.
    going: Mutex<HashSet<String>>,
    /// How often the rules in force were others.
    pub changed: AtomicU64,
}

impl Amending {
    /// A successor is being prepared, or was given up.
    pub fn prepares(&self, successor: bool) {
        self.preparing.store(successor, Ordering::SeqCst);
    }

    /// Probation is over.
    pub fn settled(&self) {
        self.settled.store(true, Ordering::SeqCst);
    }

    /// Whether a change may be made now.
    pub fn may(&self) -> bool {
        self.settled.load(Ordering::SeqCst) && !self.preparing.load(Ordering::SeqCst)
    }
}

impl Relay {
    /// A destination that leaves is put away from here on. False: a rule names it again.
    pub fn put_away(&self, destination: &Arc<Destination>) -> bool {
        let leaving = lock(&self.leaving);
        let there = leaving.iter().any(|d| Arc::ptr_eq(d, destination));
        if there {
            lock(&self.amending.going).insert(destination.spec.id.clone());
        }
        there
    }

    /// That has ended.
    pub fn is_put_away(&self, id: &str) {
        let _leaving = lock(&self.leaving);
        lock(&self.amending.going).remove(id);
    }

    /// Takes back a destination that leaves, if there is one of this id.
    ///
    /// # Errors
    /// It is being put away.
    fn take_back(&self, id: &str) -> Result<Option<Arc<Destination>>, String> {
        let mut leaving = lock(&self.leaving);
        if lock(&self.amending.going).contains(id) {
            return Err(format!(
                "what {id} had is being put away: ask again in a moment"
            ));
        }
        let at = leaving.iter().position(|d| d.spec.id == id);
        Ok(at.map(|at| leaving.remove(at)))
    }
}

/// What the database has of changes, and the number of the last.
pub(super) type Kept = (BTreeMap<(RuleKind, String), Entry>, u64);

/// Reads what was changed at run time. A file that isn't there has nothing of it.
pub(super) fn read(config: &Config) -> Result<Kept, StoreError> {
    if !config.state.path.exists() {
        return Ok(Kept::default());
    }
    let store = Store::open_existing(&config.state.path, false)?;
    Ok((entries(store.entries()?), store.last_change()?))
}

fn entries(rows: Vec<EntryRow>) -> BTreeMap<(RuleKind, String), Entry> {
    let known = rows.into_iter().filter_map(|row| {
        // A kind that a later version has.
        let kind = RuleKind::from_str(&row.kind)
            .inspect_err(|_| {
                tracing::warn!(
                    kind = row.kind,
                    key = row.key,
                    "an entry of the table is of no kind that is known"
                )
            })
            .ok()?;
        let entry = Entry {
            position: row.position,
            spec: row.spec,
            volatile: false,
            changed_at_ms: row.changed_at_ms,
        };
        Some(((kind, row.key), entry))
    });
    known.collect()
}

/// What a change would make.
pub(super) fn preview(relay: &Arc<Relay>, asked: &Asked) -> Result<Outcome, Refusal> {
    let now = relay.in_force();
    let amended = amended(relay, &now, asked)?;
    Ok(Outcome {
        version: now.version(&relay.config_hash),
        id: None,
        backlog: backlog(&now, &amended),
        preview: amended.preview,
    })
}

/// Makes a change. It returns when it is in force.
pub(super) fn change(relay: &Arc<Relay>, asked: &Asked) -> Result<Outcome, Refusal> {
    let began = Instant::now();
    while !relay.amending.may() {
        if began.elapsed() > PATIENCE || !relay.serving.load(Ordering::SeqCst) {
            return Err(Refusal::Restarting);
        }
        std::thread::sleep(LOOK);
    }
    let _one = lock(&relay.amending.one);
    if !relay.serving.load(Ordering::SeqCst) || !relay.amending.may() {
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
        false => match write(relay, asked, &amended) {
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
        version: relay.in_force().version(&relay.config_hash),
        id,
        preview: amended.preview,
        backlog,
    })
}

fn amended(relay: &Relay, now: &InForce, asked: &Asked) -> Result<Amended, Refusal> {
    let version = now.version(&relay.config_hash);
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
                rows: undo_of(relay, *id)?,
            };
            &undo
        }
    };
    Ok(now.document.amend(change, asked.volatile, now_ms())?)
}

fn undo_of(relay: &Relay, id: u64) -> Result<Vec<Row>, Refusal> {
    let path = relay.spool.health().path;
    let store = Store::open_existing(&path, false);
    let found = store.and_then(|store| store.undo_of(id));
    let found = found.map_err(|error| Refusal::Database(error.to_string()))?;
    rows_from_json(&found.ok_or(Refusal::NoSuchChange(id))?).map_err(Refusal::Failed)
}

/// Whether what it has is on its way: all of it came in just now, and waits for company or for an acknowledgement.
fn delivers(destination: &Destination) -> bool {
    let oldest = destination.queue.send.cell(Cell::OldestAt);
    let age = Duration::from_millis(now_ms().saturating_sub(oldest));
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
fn write(relay: &Relay, asked: &Asked, amended: &Amended) -> Result<u64, Refusal> {
    let file = |row: &Row| amended.document.has_in_file(row.kind, &row.key);
    let (mut set, mut dropped) = (Vec::new(), Vec::new());
    for row in &amended.rows {
        let kind = row.kind.as_str().to_owned();
        match &row.entry {
            Some(entry) => set.push(EntryRow {
                kind,
                key: row.key.clone(),
                position: entry.position,
                origin: match (&entry.spec, file(row)) {
                    (None, _) => "removed",
                    (Some(_), true) => "changed",
                    (Some(_), false) => "added",
                }
                .to_owned(),
                spec: entry.spec.clone(),
                changed_at_ms: entry.changed_at_ms,
            }),
            None => dropped.push((kind, row.key.clone())),
        }
    }
    let taken = Arc::new(AtomicBool::new(false));
    let answer = relay.spool.ask(Errand::Amend(Amendment {
        set,
        dropped,
        at_ms: now_ms(),
        via: asked.via.to_owned(),
        peer: asked.peer.clone(),
        command: asked.command.clone(),
        undo: rows_to_json(&amended.undo),
        taken: taken.clone(),
    }));
    let done = match answer.recv_timeout(WRITE) {
        Ok(done) => done,
        // Not taken on by now: it never will be. Else it ends soon.
        Err(_) if !taken.swap(true, Ordering::SeqCst) => {
            return Err(Refusal::Database("the disk takes too long".to_owned()));
        }
        Err(_) => answer
            .recv()
            .unwrap_or_else(|_| Err("the spool's thread has ended".to_owned())),
    };
    done.map_err(|error| match &error[..] {
        RESTART => Refusal::Restarting,
        _ => Refusal::Database(error),
    })
}

/// Takes over what the database has, if that isn't what is in force: a predecessor had committed it when it was frozen.
pub(super) fn refresh(relay: &Arc<Relay>) {
    let _one = lock(&relay.amending.one);
    let found = Arc::new(Mutex::new((Vec::new(), 0)));
    let asked = relay.spool.ask(Errand::Entries(found.clone()));
    // Nobody waits for this: a restart, or a database that can't be read, ends it.
    let Ok(Ok(_)) = asked.recv() else {
        return;
    };
    let (rows, changes) = std::mem::take(&mut *lock(&found));
    let now = relay.in_force();
    if changes == now.changes {
        return;
    }
    tracing::info!(
        changes,
        known = now.changes,
        "the table has a change that was made during the restart"
    );
    let document = Document::new(now.document.file().clone(), entries(rows));
    match build::build(relay, &now, document) {
        Ok(built) => built.swap(relay, changes, 0, Backlog::Drain),
        Err(error) => {
            tracing::error!(%error, "a change that was made during the restart can't be in force")
        }
    }
}
