//! Keeping the file small and the log short, beside the commits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::engine::{Engine, Trouble};
use super::{Plan, Shared};
use crate::state::{Checkpointer, Settings, Size, Store, StoreError};

/// How often the log is synced and copied while something is written.
const EVERY: Duration = Duration::from_secs(1);
/// A log of four times this length leaves nothing to be gained by making it shorter when the disk is full.
const LITTLE: u64 = 3 << 20;
/// Nothing was written for so long: the log is emptied.
const IDLE: Duration = Duration::from_secs(10);
/// A log that a reader keeps from being emptied is complained of so often.
const COMPLAIN: Duration = Duration::from_secs(60);
/// Rows and pages that one step of tidying takes: some milliseconds.
const SWEEP: u32 = 4;
const SHRINK: u32 = 256;

/// From this length on the log is begun anew, though the writer has to wait for it: that share of `max_size` is for the log.
pub(super) fn log_share(max_size: u64) -> u64 {
    (max_size / 8).min(64 << 20)
}

/// A log that a reader keeps from being emptied is complained of from this length on.
fn long_log(max_size: u64) -> u64 {
    (max_size / 4).min(256 << 20)
}

/// Starts the thread that syncs and checkpoints. It ends with the spool.
pub(super) fn start(
    plan: &Plan,
    shared: &Arc<Shared>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let (settings, max_size, shared) = (plan.settings.clone(), plan.max_size, shared.clone());
    std::thread::Builder::new()
        .name("baton-checkpoint".into())
        .spawn(move || tend(&settings, max_size, &shared))
}

fn tend(settings: &Settings, max_size: u64, shared: &Shared) {
    let (mut open, mut written, mut empty) = (None, Instant::now(), false);
    let (mut opened, mut held) = (0, false);
    let (mut complained, mut failed) = (None::<Instant>, None::<Instant>);
    while !shared.ending.load(Ordering::SeqCst) {
        std::thread::park_timeout(EVERY);
        let pressed = shared.pressed.swap(0, Ordering::SeqCst);
        let now_open = shared.opened.load(Ordering::SeqCst);
        if now_open != opened {
            // The one that we had may be moved aside by now.
            (open, opened, held) = (None, now_open, false);
        }
        if shared.frozen.load(Ordering::SeqCst) || opened == 0 {
            open = None;
            continue;
        }
        let dirty = shared.dirty.swap(false, Ordering::Relaxed);
        if dirty {
            (written, empty) = (Instant::now(), false);
        }
        let idle = written.elapsed() > IDLE;
        if !dirty && !held && pressed == 0 && (empty || !idle) {
            continue;
        }
        let share = log_share(max_size);
        let limit = match pressed {
            0 => share,
            // Begun anew; what it has of the disk it keeps, unless that is much.
            log if log < 4 * LITTLE => share.min(log / 2 + 1),
            _ => share.min(LITTLE),
        };
        match step(settings, &mut open, limit, idle) {
            Ok((wal, is_held)) => {
                (empty, held) = (idle, is_held);
                let mut health = shared.health();
                (health.wal, health.wal_held, health.log_error) = (wal, held, None);
                drop(health);
                let due = complained.is_none_or(|at| at.elapsed() > COMPLAIN);
                if held && wal > long_log(max_size) && due {
                    complained = Some(Instant::now());
                    tracing::warn!(
                        bytes = wal,
                        "a reader of the database holds a transaction open: its log can't be emptied, and counts towards max_size"
                    );
                }
            }
            Err(error) => {
                open = None;
                shared.health().log_error = Some(error.to_string());
                if failed.is_none_or(|at| at.elapsed() > COMPLAIN) {
                    failed = Some(Instant::now());
                    tracing::warn!(%error, "the log of the database can't be synced and copied into its file");
                }
            }
        }
        if pressed > 0 {
            shared.wanted.notify_one();
        }
    }
}

/// Returns the log's length, and whether a reader holds it.
fn step(
    settings: &Settings,
    open: &mut Option<Checkpointer>,
    limit: u64,
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
    let done = checkpointer.checkpoint(limit)?;
    Ok((done.wal, done.held_by_reader))
}

impl Engine {
    /// Once a second: what the file takes, and a little less of it.
    pub(super) fn tidy(&mut self) -> Result<(), Trouble> {
        let store = self.store()?;
        let size = store.size()?;
        let totals = store.totals()?;
        if size.file == 0 {
            return Err(StoreError::Damaged("its file is gone".to_owned()).into());
        }
        // While lines come in there is no time for it.
        let until = Instant::now() + Duration::from_millis(50);
        let mut changed = false;
        let tidied = tidy_until(store, size, until, &mut changed);
        match tidied {
            // It can wait.
            Ok(()) | Err(StoreError::Full | StoreError::Busy) => {}
            Err(error) => return Err(error.into()),
        }
        if changed {
            self.shared.dirty.store(true, Ordering::Relaxed);
        }
        let mut health = self.shared.health();
        (health.file, health.free, health.wal) = (size.file, size.free, size.wal);
        health.totals = totals
            .into_iter()
            .map(|t| (t.destination.clone(), t))
            .collect();
        Ok(())
    }
}

fn tidy_until(
    store: &mut Store,
    size: Size,
    until: Instant,
    changed: &mut bool,
) -> Result<(), StoreError> {
    while Instant::now() < until && store.sweep(SWEEP)? {
        *changed = true;
    }
    if size.free > size.file / 4 || size.free > (64 << 20) {
        while Instant::now() < until && store.shrink(SHRINK)? {
            *changed = true;
        }
    }
    Ok(())
}
