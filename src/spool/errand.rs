//! What others have the spool do, in its turn.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Shared;
use super::account::STEP;
use super::engine::{Engine, Trouble};
use super::front::begin_in;
use super::hand;
use crate::handover::Generation;
use crate::ledger::{Count, DropReason};
use crate::state::{Change, ChangeRow, Checkpointer, EntryRow, GenerationRow, Store, StoreError};

/// Why an errand isn't done when this worker is frozen: the next one may be asked.
pub const RESTART: &str = "a restart is under way";

/// See the module's text.
#[derive(Debug)]
pub enum Errand {
    /// Moves what is queued in memory to rows: these destinations are being given up. Tells how many lines.
    Stow(Vec<String>),
    /// Drops all rows of a destination. Tells how many lines.
    Purge {
        /// Whose.
        destination: String,
        /// As that of an [`Amendment`].
        taken: Arc<AtomicBool>,
    },
    /// Adds a file's lines, from where it stands, behind a destination's rows. Tells how many lines. The file's position
    /// moves with what is committed.
    Import {
        /// Whose.
        destination: String,
        /// A regular file, open for reading.
        file: File,
    },
    /// Gives a destination the rows of another, behind its own, but those that are in its send ring. Tells how many lines.
    Assign {
        /// Whose they are.
        from: String,
        /// Whose they will be.
        to: String,
    },
    /// Moves what is queued and spooled for one destination, which is down, to another, which is up. Tells how many lines.
    PassOver {
        /// Whose they are.
        from: String,
        /// Whose they will be.
        to: String,
    },
    /// Keeps aggregation windows over a stop.
    Keep {
        /// What they are known by.
        id: String,
        /// For people.
        summary: String,
        /// What they are.
        bytes: Vec<u8>,
    },
    /// Reads what was kept: each with what it is known by. Tells how many.
    Recall(Arc<Mutex<Kept>>),
    /// Forgets what was kept under these names.
    Forget(Vec<String>),
    /// Notes which workers there were.
    Generations(Vec<Generation>),
    /// Reads the entries of the table of rules, and the number of the last change.
    Entries(Arc<Mutex<(Vec<EntryRow>, u64)>>),
    /// Opens the file once more. One that is no database any more is moved aside and begun anew.
    Examine,
    /// Writes a change of the table of rules: all of it, with its history. Tells its number.
    Amend(Amendment),
}

/// A change of the table of rules, as it is written.
#[derive(Clone, Debug, Default)]
pub struct Amendment {
    /// Entries that are set.
    pub set: Vec<EntryRow>,
    /// Entries that are dropped: kind and key.
    pub dropped: Vec<(String, String)>,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// On which way it came.
    pub via: String,
    /// From whom.
    pub peer: String,
    /// What was asked.
    pub command: String,
    /// The entries that there were, as they are kept for an undo.
    pub undo: String,
    /// Set by who takes it on, or by who doesn't wait for it any longer: whoever is the first has it.
    pub taken: Arc<AtomicBool>,
}

/// Aggregation windows that stops have kept, each with what they are known by.
pub type Kept = Vec<(String, Vec<u8>)>;

/// How many lines it was about, or why it wasn't done.
pub type Done = Result<u64, String>;

/// Where the answer goes.
pub type Reply = SyncSender<Done>;

/// Waits so long for an errand that says when it is taken on. One that isn't by then never will be; else it ends soon.
///
/// # Errors
/// As the errand's, or that it was not taken on.
pub fn within(answer: &Receiver<Done>, taken: &AtomicBool, limit: Duration) -> Done {
    match answer.recv_timeout(limit) {
        Ok(done) => done,
        Err(_) if !taken.swap(true, Ordering::SeqCst) => Err("the disk takes too long".to_owned()),
        Err(_) => answer
            .recv()
            .unwrap_or_else(|_| Err("the spool's thread has ended".to_owned())),
    }
}

/// The worker that serves, until it is frozen.
struct Serving {
    shared: Arc<Shared>,
    epoch: u64,
}

impl hand::Begin for Serving {
    type Error = Trouble;

    fn begin<'s>(&self, store: &'s mut Store) -> Result<Change<'s>, Trouble> {
        begin_in(store, &self.shared, self.epoch)
    }
}

/// An errand that isn't done.
#[derive(Debug)]
pub(super) struct Pending {
    pub errand: Errand,
    /// It was about so many lines so far.
    pub lines: u64,
    pub reply: Reply,
}

impl Pending {
    /// Those of people are done in their order, and the long ones in steps. The others don't wait for them.
    fn waits(&self) -> bool {
        !matches!(
            self.errand,
            Errand::Stow(_)
                | Errand::Generations(_)
                | Errand::Keep { .. }
                | Errand::Recall(_)
                | Errand::Forget(_)
                | Errand::Entries(_)
                | Errand::Examine
                | Errand::Amend(_)
        )
    }

    /// Whether it is tried again after that: what isn't stowed is lost, and who asks for it knows how long it waits.
    fn outlasts(&self, error: &StoreError) -> bool {
        matches!(
            (&self.errand, error),
            (Errand::Stow(_) | Errand::Keep { .. }, StoreError::Busy)
        )
    }

    fn answer(self, done: Done) {
        // Who asked may have gone.
        let _gone = self.reply.send(done);
    }
}

/// What a step did.
pub(super) enum Step {
    /// So many lines, and there are more.
    More(u64),
    /// So many lines, and that is all.
    Last(u64),
}

impl Engine {
    pub(super) fn run_errands(&mut self) -> Result<(), Trouble> {
        let waiting = std::mem::take(&mut *self.shared.errands());
        let (mut left, mut trouble) = (VecDeque::new(), None);
        for mut pending in waiting {
            if pending.waits() && !left.is_empty() {
                left.push_back(pending);
                continue;
            }
            match self.step(&mut pending.errand) {
                Ok(Step::More(lines)) => {
                    pending.lines += lines;
                    left.push_back(pending);
                }
                Ok(Step::Last(lines)) => {
                    let total = pending.lines + lines;
                    pending.answer(Ok(total));
                }
                Err(Trouble::Frozen) => pending.answer(Err(RESTART.to_owned())),
                Err(Trouble::Store(error)) if pending.outlasts(&error) => {
                    trouble = trouble.or(Some(error));
                    left.push_back(pending);
                }
                Err(Trouble::Store(error)) => {
                    let is_examined = matches!(pending.errand, Errand::Examine);
                    pending.answer(Err(error.to_string()));
                    if is_examined && matches!(error, StoreError::Damaged(_)) {
                        trouble = Some(error);
                    }
                }
            }
        }
        if !left.is_empty() {
            // After all others have had their turn.
            self.shared.wanted.notify_one();
            let mut errands = self.shared.errands();
            left.append(&mut errands);
            *errands = left;
        }
        trouble.map_or(Ok(()), |error| Err(error.into()))
    }

    pub(super) fn refuse_errands(&mut self, reason: &str) {
        for pending in self.shared.errands().drain(..) {
            pending.answer(Err(reason.to_owned()));
        }
    }

    /// Refuses those that don't outlast it.
    pub(super) fn refuse_for(&mut self, error: &StoreError) {
        let mut errands = self.shared.errands();
        let (outlast, refused): (VecDeque<_>, VecDeque<_>) = errands
            .drain(..)
            .partition(|pending| pending.outlasts(error));
        *errands = outlast;
        drop(errands);
        for pending in refused {
            pending.answer(Err(error.to_string()));
        }
    }

    pub(super) fn account(&self, id: &str) -> Option<usize> {
        self.accounts.iter().position(|account| account.id() == id)
    }

    fn step(&mut self, errand: &mut Errand) -> Result<Step, Trouble> {
        // What it commits is to be synced.
        self.shared.dirty.store(true, Ordering::Relaxed);
        match errand {
            Errand::Stow(ids) => {
                let (mut lines, mut failed) = (0, None);
                for at in ids
                    .iter()
                    .filter_map(|id| self.account(id))
                    .collect::<Vec<_>>()
                {
                    match self.stow(at) {
                        Ok(stowed) => lines += stowed,
                        Err(Trouble::Frozen) => return Err(Trouble::Frozen),
                        // The others are kept all the same.
                        Err(trouble) => failed = failed.or(Some(trouble)),
                    }
                }
                // The machine may be switched off next.
                let synced = Checkpointer::open(&self.plan.settings).and_then(|mut log| log.sync());
                match failed {
                    Some(trouble) => Err(trouble),
                    None => Ok(synced.map(|()| Step::Last(lines))?),
                }
            }
            Errand::Purge { taken, .. } if taken.swap(true, Ordering::SeqCst) => Ok(Step::Last(0)),
            Errand::Purge { destination, .. } => Ok(Step::Last(self.purge(destination)?)),
            Errand::Import { destination, file } => self.import_piece(destination, file),
            Errand::Assign { from, to } => self.give_rows(from, to, DropReason::Purged.into()),
            Errand::PassOver { from, to } => self.pass_over(from, to),
            Errand::Keep { id, summary, bytes } => {
                let (store, serving) = self.hand()?;
                let mut change = hand::Begin::begin(&serving, store)?;
                change.keep_windows(id, summary, bytes)?;
                change.commit()?;
                Checkpointer::open(&self.plan.settings)?.sync()?;
                Ok(Step::Last(bytes.len() as u64))
            }
            Errand::Recall(into) => {
                let kept = self.store()?.kept_windows()?;
                let count = kept.len() as u64;
                *into.lock().unwrap_or_else(|e| e.into_inner()) = kept;
                Ok(Step::Last(count))
            }
            Errand::Forget(ids) => {
                let (store, serving) = self.hand()?;
                let mut change = hand::Begin::begin(&serving, store)?;
                for id in &*ids {
                    change.forget_windows(id)?;
                }
                change.commit()?;
                Ok(Step::Last(ids.len() as u64))
            }
            Errand::Generations(generations) => self.note_generations(generations),
            Errand::Entries(into) => {
                let found = self.store()?.table()?;
                let count = found.0.len() as u64;
                *into.lock().unwrap_or_else(|e| e.into_inner()) = found;
                Ok(Step::Last(count))
            }
            Errand::Examine => {
                Store::open_existing(&self.plan.settings.path, false)?;
                Ok(Step::Last(0))
            }
            Errand::Amend(amendment) => self.amend(amendment),
        }
    }

    fn amend(&mut self, amendment: &Amendment) -> Result<Step, Trouble> {
        if amendment.taken.swap(true, Ordering::SeqCst) {
            return Ok(Step::Last(0));
        }
        let (store, serving) = self.hand()?;
        let mut change = hand::Begin::begin(&serving, store)?;
        for entry in &amendment.set {
            change.set_entry(entry)?;
        }
        for (kind, key) in &amendment.dropped {
            change.drop_entry(kind, key)?;
        }
        let id = change.record_change(&ChangeRow {
            number: None,
            at_ms: amendment.at_ms,
            via: &amendment.via,
            peer: &amendment.peer,
            command: &amendment.command,
            outcome: "in force",
        })?;
        change.record_undo(id, &amendment.undo)?;
        change.commit()?;
        Ok(Step::Last(id))
    }

    fn purge(&mut self, id: &str) -> Result<u64, Trouble> {
        let (store, serving) = self.hand()?;
        let Some((last, gone)) = hand::purge(store, &serving, id)? else {
            return Ok(0);
        };
        // Copies of what is in a send ring go with the rows, but they aren't dropped: the ring still sends them.
        let mut lines = gone.lines;
        if let Some(at) = self.account(id) {
            let account = &mut self.accounts[at];
            account.bytes = 0;
            account.replayed = true;
            account.number_after(None, Some(last));
            lines = account.queue.spooled_lines();
            self.drop_spooled(at, DropReason::Purged, lines)?;
        }
        tracing::info!(destination = id, lines, "its spool was purged");
        Ok(lines)
    }

    fn import_piece(&mut self, id: &str, file: &File) -> Result<Step, Trouble> {
        let at = self.account(id);
        let (seq, size) = match at {
            Some(at) => (self.accounts[at].take_seq(), self.accounts[at].row_size()),
            None => (hand::behind(self.store()?, id)?, hand::PIECE),
        };
        let (store, serving) = self.hand()?;
        let Some(added) = hand::add_piece(store, &serving, id, file, size, seq)? else {
            return Ok(Step::Last(0));
        };
        if let Some(at) = at {
            self.accounts[at].bytes += added.bytes;
            self.came_in(at, added.lines)?;
        }
        Ok(Step::More(added.lines))
    }

    /// The database, and the right to change it as long as this worker serves.
    fn hand(&mut self) -> Result<(&mut Store, Serving), Trouble> {
        let serving = Serving {
            shared: self.shared.clone(),
            epoch: self.epoch,
        };
        Ok((self.store()?, serving))
    }

    /// Rows were added that no route had given.
    fn came_in(&mut self, at: usize, lines: u64) -> Result<(), Trouble> {
        self.accounts[at].replayed = false;
        self.turn_to_spool(at)?;
        self.import(at, lines)
    }

    /// Gives some rows of one destination to another; the giver counts them so.
    pub(super) fn give_rows(
        &mut self,
        from: &str,
        to: &str,
        count: Count,
    ) -> Result<Step, Trouble> {
        if from == to {
            return Ok(Step::Last(0));
        }
        let (giver, taker) = (self.account(from), self.account(to));
        let after = giver.and_then(|at| self.accounts[at].cursor());
        let first = match taker {
            Some(at) => self.accounts[at].next_seq,
            None => hand::behind(self.store()?, to)?,
        };
        let (store, serving) = self.hand()?;
        let Some(given) = hand::give(store, &serving, from, after, to, first)? else {
            return Ok(Step::Last(0));
        };
        if let Some(at) = taker {
            let account = &mut self.accounts[at];
            account.next_seq = first + given.rows as i64 * STEP;
            account.bytes += given.bytes;
            self.came_in(at, given.lines)?;
        }
        if let Some(at) = giver {
            let account = &mut self.accounts[at];
            account.bytes = account
                .bytes
                .saturating_sub(given.bytes + given.damaged.bytes);
            self.drop_spooled(at, count, given.lines)?;
            self.drop_spooled(at, DropReason::SpoolDamaged, given.damaged.lines)?;
        }
        Ok(Step::More(given.lines))
    }

    fn note_generations(&mut self, generations: &[Generation]) -> Result<Step, Trouble> {
        let mut change = self.store()?.begin()?;
        for generation in generations {
            change.record_generation(&GenerationRow {
                id: generation.id,
                pid: generation.pid,
                version: generation.version.clone(),
                config_hash: generation.config_hash.clone(),
                reason: generation.reason.as_str().to_owned(),
                started_at_ms: ms(&generation.started_at).unwrap_or(0),
                ready_at_ms: generation.serving_at.as_deref().and_then(ms),
                ended_at_ms: generation.ended_at.as_deref().and_then(ms),
                outcome: Some(generation.outcome.clone()),
                pause_us: generation.pause_us,
            })?;
        }
        change.commit()?;
        Ok(Step::Last(0))
    }
}

/// A time as the supervisor writes it.
fn ms(text: &str) -> Option<u64> {
    let at = humantime::parse_rfc3339_weak(text).ok()?;
    let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It may come to its turn much later, when its destination's id has other rows.
    #[test]
    fn what_isnt_taken_on_in_time_never_is() {
        let (reply, answer) = std::sync::mpsc::sync_channel::<Done>(1);
        let taken = AtomicBool::new(false);
        assert!(within(&answer, &taken, Duration::ZERO).is_err());
        assert!(taken.load(Ordering::SeqCst));
        // This one was: it is waited for.
        reply.send(Ok(7)).unwrap();
        assert_eq!(within(&answer, &taken, Duration::ZERO), Ok(7));
    }
}
