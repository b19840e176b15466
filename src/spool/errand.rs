//! What others have the spool do, in its turn.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::mpsc::SyncSender;

use super::engine::{Engine, Trouble};
use crate::handover::Generation;
use crate::intake::now_ms;
use crate::ledger::DropReason;
use crate::state::{Checkpointer, GenerationRow, NewRow};

/// How much of a file becomes a row.
const PIECE: usize = 1 << 20;
/// Rows that are moved in one transaction.
const ROWS: u32 = 16;

/// See the module's text.
#[derive(Debug)]
pub enum Errand {
    /// Moves what is queued in memory to rows: these destinations are being given up. Tells how many lines.
    Stow(Vec<String>),
    /// Drops all rows of a destination. Tells how many lines.
    Purge(String),
    /// Adds a file's lines behind a destination's rows. Tells how many lines.
    Import {
        /// Whose.
        destination: String,
        /// Open for reading.
        file: OwnedFd,
    },
    /// Gives a destination the rows of another, behind its own. Tells how many lines.
    Assign {
        /// Whose they are.
        from: String,
        /// Whose they will be.
        to: String,
    },
    /// Notes which workers there were.
    Generations(Vec<Generation>),
}

/// How many lines it was about, or why it wasn't done.
pub type Done = Result<u64, String>;

/// Where the answer goes.
pub type Reply = SyncSender<Done>;

impl Engine {
    pub(super) fn run_errands(&mut self) -> Result<(), Trouble> {
        loop {
            let next = self.shared.errands().pop();
            let Some((errand, reply)) = next else {
                return Ok(());
            };
            let done = match self.run_errand(errand) {
                Ok(lines) => Ok(lines),
                Err(Trouble::Frozen) => Err("a restart is under way".to_owned()),
                Err(Trouble::Store(error)) => Err(error.to_string()),
            };
            // Who asked may have gone.
            let _gone = reply.send(done);
        }
    }

    pub(super) fn refuse_errands(&mut self, reason: &str) {
        for (_, reply) in self.shared.errands().drain(..) {
            let _gone = reply.send(Err(reason.to_owned()));
        }
    }

    fn account(&self, id: &str) -> Option<usize> {
        self.accounts.iter().position(|account| account.id() == id)
    }

    fn run_errand(&mut self, errand: Errand) -> Result<u64, Trouble> {
        match errand {
            Errand::Stow(ids) => {
                let mut lines = 0;
                for at in ids
                    .iter()
                    .filter_map(|id| self.account(id))
                    .collect::<Vec<_>>()
                {
                    lines += self.stow(at)?;
                }
                // The machine may be switched off next.
                Checkpointer::open(&self.plan.settings)?.sync()?;
                Ok(lines)
            }
            Errand::Purge(id) => self.purge(&id),
            Errand::Import { destination, file } => self.import_file(&destination, file),
            Errand::Assign { from, to } => self.assign(&from, &to),
            Errand::Generations(generations) => self.note_generations(&generations),
        }
    }

    fn purge(&mut self, id: &str) -> Result<u64, Trouble> {
        let store = self.store()?;
        let Some((_, last)) = store.bounds(id)? else {
            return Ok(0);
        };
        let mut change = store.begin()?;
        let gone = change.purge(id, last)?;
        change.commit()?;
        tracing::warn!(destination = id, lines = gone.lines, "its spool was purged");
        let Some(at) = self.account(id) else {
            return Ok(gone.lines);
        };
        let account = &mut self.accounts[at];
        account.bytes = 0;
        account.replayed = true;
        account.number_after(None, Some(last));
        let lines = account.queue.spooled_lines();
        self.drop_spooled(at, DropReason::Purged, lines)?;
        Ok(lines)
    }

    fn import_file(&mut self, id: &str, file: OwnedFd) -> Result<u64, Trouble> {
        let (mut file, mut total) = (File::from(file), 0);
        let (mut text, mut end) = (vec![0; PIECE], 0);
        let failed = |error: std::io::Error| {
            crate::state::StoreError::Unavailable(format!("the file to replay: {error}"))
        };
        loop {
            let n = match file.read(&mut text[end..]) {
                Ok(n) => n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error).into()),
            };
            end += n;
            if n > 0 && end < text.len() {
                continue;
            }
            if n == 0 && end > 0 && text[end - 1] != b'\n' {
                text.resize(text.len().max(end + 1), 0);
                text[end] = b'\n';
                end += 1;
            }
            let whole = memchr::memrchr(b'\n', &text[..end]).map_or(0, |at| at + 1);
            if whole == 0 && n > 0 {
                let long = std::io::Error::other("a line of more than a megabyte");
                return Err(failed(long).into());
            }
            if whole > 0 {
                total += self.add_row(id, &text[..whole])?;
            }
            text.copy_within(whole..end, 0);
            end -= whole;
            if n == 0 {
                return Ok(total);
            }
        }
    }

    /// Adds lines as a row behind the others.
    fn add_row(&mut self, id: &str, payload: &[u8]) -> Result<u64, Trouble> {
        let lines = memchr::memchr_iter(b'\n', payload).count() as u64;
        let (at, now) = (self.account(id), now_ms());
        let seq = match at {
            Some(at) => self.accounts[at].take_seq(),
            None => {
                let store = self.store()?;
                let after = store.bounds(id)?.map(|(_, last)| last);
                let after = after.max(store.purged_through(id)?);
                after.unwrap_or(super::account::FIRST) + super::account::STEP
            }
        };
        let mut change = self.store()?.begin()?;
        change.insert(&NewRow {
            destination: id,
            seq,
            first_at_ms: now,
            last_at_ms: now,
            lines,
            payload,
        })?;
        change.commit()?;
        if let Some(at) = at {
            self.accounts[at].bytes += payload.len() as u64;
            self.came_in(at, lines)?;
        }
        Ok(lines)
    }

    /// Rows were added that no route had given.
    fn came_in(&mut self, at: usize, lines: u64) -> Result<(), Trouble> {
        self.accounts[at].replayed = false;
        self.turn_to_spool(at)?;
        self.import(at, lines)
    }

    fn assign(&mut self, from: &str, to: &str) -> Result<u64, Trouble> {
        let mut total = 0;
        loop {
            let mut change = self.store()?.begin()?;
            let moved = change.reassign(from, to, ROWS)?;
            change.commit()?;
            if moved.rows == 0 {
                return Ok(total);
            }
            total += moved.lines;
            if let Some(at) = self.account(to) {
                let bounds = self.store()?.bounds(to)?;
                let account = &mut self.accounts[at];
                account.bytes += moved.bytes;
                account.number_after(bounds.map(|(_, last)| last), None);
                self.came_in(at, moved.lines)?;
            }
        }
    }

    fn note_generations(&mut self, generations: &[Generation]) -> Result<u64, Trouble> {
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
        Ok(0)
    }
}

/// A time as the supervisor writes it.
fn ms(text: &str) -> Option<u64> {
    let at = humantime::parse_rfc3339_weak(text).ok()?;
    let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since.as_millis() as u64)
}
