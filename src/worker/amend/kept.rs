//! What the database has of changes.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::super::relay::{Relay, lock};
use super::build;
use crate::amend::{Backlog, Document, Entry, Spot};
use crate::config::{Config, RuleKind};
use crate::spool::{Errand, Keeps};
use crate::state::{EntryRow, Store, StoreError};

/// How soon it is tried again to read it.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// That it can't be read is logged once in so long.
const COMPLAIN: Duration = Duration::from_secs(60);

type Entries = BTreeMap<(RuleKind, String), Entry>;

/// What the database has of changes, and the number of the last.
pub(in crate::worker) type Kept = (Entries, u64);

/// Reads what was changed at run time. A file that isn't there has nothing of it.
pub(in crate::worker) fn read(config: &Config) -> Result<Kept, StoreError> {
    if !config.state.path.exists() {
        return Ok(Kept::default());
    }
    let store = Store::open_existing(&config.state.path, false)?;
    let (rows, last) = store.table()?;
    Ok((entries(rows), last))
}

fn entries(rows: Vec<EntryRow>) -> Entries {
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
            spot: Spot {
                position: row.position,
                of_file: row.origin == CHANGED,
            },
            spec: row.spec,
            volatile: false,
            beneath: None,
            changed_at_ms: row.changed_at_ms,
        };
        Some(((kind, row.key), entry))
    });
    known.collect()
}

/// It is where the file has it.
const CHANGED: &str = "changed";

/// An entry as it is written.
pub(super) fn row(document: &Document, kind: RuleKind, key: &str, entry: &Entry) -> EntryRow {
    let in_file = document.has_in_file(kind, key);
    EntryRow {
        kind: kind.as_str().to_owned(),
        key: key.to_owned(),
        position: entry.spot.position,
        origin: match (&entry.spec, in_file || entry.spot.of_file) {
            (None, _) => "removed",
            (Some(_), true) if entry.spot.of_file => CHANGED,
            (Some(_), true) => "moved",
            (Some(_), false) => "added",
        }
        .to_owned(),
        spec: entry.spec.clone(),
        changed_at_ms: entry.changed_at_ms,
    }
}

impl Keeps for Relay {
    fn table(&self) -> (Vec<EntryRow>, u64) {
        let now = self.in_force();
        let entries = now.document.entries().iter();
        let rows = entries.filter_map(|((kind, key), entry)| {
            Some(row(&now.document, *kind, key, entry.lasting()?))
        });
        (rows.collect(), now.changes)
    }
}

/// Takes over what the database has, if that isn't what is in force: a predecessor had committed it when it was frozen, or
/// the database couldn't be read at the start. Tries as long as this worker serves; until then nothing is written.
pub(in crate::worker) fn refresh(relay: &Arc<Relay>) {
    let mut complained: Option<Instant> = None;
    loop {
        // A successor has read what there is.
        let refreshed = match relay.amending.is_preparing() {
            false => take_over(relay).map(Some),
            true => Ok(None),
        };
        if !relay.serving.load(Ordering::SeqCst) {
            // Who serves next begins with it.
            return;
        }
        match refreshed {
            Ok(Some(())) => return relay.amending.has_refreshed(),
            Ok(None) => {}
            Err(error) => {
                if complained.is_none_or(|at| at.elapsed() >= COMPLAIN) {
                    tracing::warn!(
                        error,
                        "what was changed at run time can't be taken over yet: it is tried again"
                    );
                    complained = Some(Instant::now());
                }
            }
        }
        std::thread::sleep(TRY_AGAIN);
    }
}

fn take_over(relay: &Arc<Relay>) -> Result<(), String> {
    let found = Arc::new(Mutex::new((Vec::new(), 0)));
    let asked = relay.spool.ask(Errand::Entries(found.clone()));
    asked.recv().map_err(|error| error.to_string())??;
    let (rows, changes) = std::mem::take(&mut *lock(&found));
    let _one = lock(&relay.amending.one);
    let now = relay.in_force();
    if changes <= now.changes {
        return Ok(());
    }
    tracing::info!(
        changes,
        known = now.changes,
        "the table has changes that were not in force yet"
    );
    let mut entries = entries(rows);
    // What isn't written stays.
    let volatile = now.document.entries().iter();
    for (name, entry) in volatile.filter(|(_, entry)| entry.volatile) {
        let beneath = entries.get(name).cloned().map(Box::new);
        let entry = Entry {
            beneath,
            ..entry.clone()
        };
        entries.insert(name.clone(), entry);
    }
    let document = Document::new(now.document.file().clone(), entries);
    let built = build::build(relay, &now, document).map_err(|error| error.to_string())?;
    built.swap(relay, changes, now.volatile, Backlog::Drain);
    Ok(())
}
