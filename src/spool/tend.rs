//! Keeping the file small and the log short, beside the commits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Shared;
use super::engine::{Engine, Trouble};
use crate::state::{Checkpointer, Settings, StoreError};

/// How often the log is synced and copied while something is written.
const EVERY: Duration = Duration::from_secs(1);
/// From this length on the log is begun anew, though the writer has to wait for it.
const LOG: u64 = 64 << 20;
/// Nothing was written for so long: the log is emptied.
const IDLE: Duration = Duration::from_secs(10);
/// A log that a reader keeps from being emptied is complained of from this length on, and so often.
const LONG_LOG: u64 = 256 << 20;
const COMPLAIN: Duration = Duration::from_secs(60);
/// Rows and pages that one step of tidying takes: some milliseconds.
const SWEEP: u32 = 4;
const SHRINK: u32 = 256;

/// Starts the thread that syncs and checkpoints. It ends with the spool.
pub(super) fn start(
    settings: &Settings,
    shared: &Arc<Shared>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let (settings, shared) = (settings.clone(), shared.clone());
    std::thread::Builder::new()
        .name("baton-checkpoint".into())
        .spawn(move || tend(&settings, &shared))
}

fn tend(settings: &Settings, shared: &Shared) {
    let (mut open, mut written, mut empty) = (None, Instant::now(), false);
    let mut complained: Option<Instant> = None;
    while !shared.ending.load(Ordering::SeqCst) {
        std::thread::sleep(EVERY);
        if shared.frozen.load(Ordering::SeqCst) || shared.health().error.is_some() {
            // The file may be moved aside, or be another's.
            open = None;
            continue;
        }
        let dirty = shared.dirty.swap(false, Ordering::Relaxed);
        if dirty {
            (written, empty) = (Instant::now(), false);
        }
        let idle = written.elapsed() > IDLE;
        if !dirty && (empty || !idle) {
            continue;
        }
        let done = step(settings, &mut open, idle);
        match done {
            Ok((wal, held)) => {
                empty = idle;
                let mut health = shared.health();
                (health.wal, health.wal_held) = (wal, held);
                drop(health);
                let due = complained.is_none_or(|at| at.elapsed() > COMPLAIN);
                if held && wal > LONG_LOG && due {
                    complained = Some(Instant::now());
                    tracing::warn!(
                        bytes = wal,
                        "a reader of the database holds a transaction open: its log can't be emptied, and counts towards max_size"
                    );
                }
            }
            Err(error) => {
                open = None;
                tracing::debug!(%error, "no checkpoint");
            }
        }
    }
}

/// Returns the log's length, and whether a reader holds it.
fn step(
    settings: &Settings,
    open: &mut Option<Checkpointer>,
    idle: bool,
) -> Result<(u64, bool), StoreError> {
    let checkpointer = match open {
        Some(open) => open,
        None => open.insert(Checkpointer::open(settings)?),
    };
    checkpointer.sync()?;
    if idle {
        checkpointer.truncate()?;
    }
    let done = checkpointer.checkpoint(LOG)?;
    Ok((done.wal, done.held_by_reader))
}

impl Engine {
    /// Once a second: what the file takes, and a little less of it.
    pub(super) fn tidy(&mut self) -> Result<(), Trouble> {
        let store = self.store()?;
        let size = store.size()?;
        let totals = store.totals()?;
        // While lines come in there is no time for it.
        let until = Instant::now() + Duration::from_millis(50);
        let mut changed = false;
        while Instant::now() < until && store.sweep(SWEEP)? {
            changed = true;
        }
        if size.free > size.file / 4 || size.free > (64 << 20) {
            while Instant::now() < until && store.shrink(SHRINK)? {
                changed = true;
            }
        }
        if changed {
            self.shared.dirty.store(true, Ordering::Relaxed);
        }
        // Free pages may be in the log as yet.
        self.taken = size.file.saturating_sub(size.free) + size.wal;
        let mut health = self.shared.health();
        (health.file, health.free, health.wal) = (size.file, size.free, size.wal);
        health.totals = totals
            .into_iter()
            .map(|t| (t.destination.clone(), t))
            .collect();
        Ok(())
    }
}
