//! Rows → send ring; and without a row between, when there is none.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::account::Account;
use super::engine::{Engine, Trouble};
use super::front::begin;
use crate::intake::now_ms;
use crate::ledger::{Cell, Count, DropReason};
use crate::spec::ReplayFrom;
use crate::state::{NewRow, Row, RowError};

/// Rows that one round replays for one destination: then others have their turn.
const TURN: usize = 8;
/// What a row is divided into that is too large: pieces that fit into the smallest ring there can be, so that none of them is
/// divided again. There are numbers for so many between two rows.
const PIECE: usize = 64 << 10;

impl Engine {
    /// Puts rows into the send ring, as many as it should have. True: there are more, and room.
    pub(super) fn replay(&mut self, at: usize) -> Result<bool, Trouble> {
        for _ in 0..TURN {
            let stopping = self.shared.stopping.load(Ordering::Relaxed);
            let account = &mut self.accounts[at];
            if stopping || account.replayed || !account.is_up() || !account.has_tokens() {
                return Ok(false);
            }
            // How large the next one is may be known from the last attempt; at first it isn't before it is read.
            if room(account) < account.next_row.max(1) {
                return Ok(false);
            }
            account.next_row = 0;
            let (id, cursor) = (account.id().to_owned(), account.cursor());
            match self.store()?.next_row(&id, cursor) {
                Ok(None) => {
                    self.accounts[at].replayed = true;
                    // Of rows that were set aside, or that somebody deleted, when they couldn't be read.
                    let gone = self.accounts[at].queue.spooled_lines();
                    if gone > 0 {
                        self.drop_spooled(at, DropReason::SpoolDamaged, gone)?;
                    }
                    return Ok(false);
                }
                Ok(Some(row)) => {
                    if !self.replay_row(at, row)? {
                        return Ok(false);
                    }
                }
                Err(RowError::Row { seq, reason }) => self.set_aside(at, seq, &reason)?,
                Err(RowError::Store(error)) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// False: there is no room for it.
    fn replay_row(&mut self, at: usize, mut row: Row) -> Result<bool, Trouble> {
        let account = &self.accounts[at];
        if account.is_too_old(&row) {
            let lines = self.delete_next(at)?;
            self.drop_spooled(at, DropReason::TooOld, lines)?;
            return Ok(true);
        }
        if row.payload.last().is_some_and(|last| *last != b'\n') {
            row.payload.push(b'\n');
        }
        let size = row.payload.len() as u64;
        if size > account.queue.send.capacity() / 4 {
            // Made when the queue was larger.
            self.divide(at, &row)?;
            return Ok(true);
        }
        if size > room(account) {
            self.accounts[at].next_row = size;
            return Ok(false);
        }
        // Somebody may have edited it.
        let lines = memchr::memchr_iter(b'\n', &row.payload).count() as u64;
        self.lane(|lane| {
            let (queue, writer) = (&account.queue, &mut lane.writer);
            let mut append = queue.send.append();
            if size > append.room() {
                return;
            }
            append.push(&row.payload, lines);
            append.publish(writer, row.first_at_ms);
            let (cells, end) = (queue.send.cells(), queue.send.head() + size);
            writer.set(cells, Cell::Cursor, row.seq as u64);
            writer.set(cells, Cell::CursorEnd, end);
            if queue.send.cell(Cell::Barrier) == 0 {
                writer.set(cells, Cell::Barrier, row.seq as u64);
                writer.set(cells, Cell::BarrierEnd, end);
            }
            account.book(
                writer,
                lines.saturating_sub(row.lines),
                lines.max(row.lines),
            );
            writer.add(
                queue.counts(),
                Count::Imported,
                lines.saturating_sub(row.lines),
            );
            let missing = row.lines.saturating_sub(lines);
            writer.add(queue.counts(), DropReason::SpoolDamaged, missing);
            writer.commit();
            append.finish();
        })?;
        self.accounts[at].tokens -= lines as f64;
        Ok(true)
    }

    /// Deletes the row that is next. Returns its lines.
    fn delete_next(&mut self, at: usize) -> Result<u64, Trouble> {
        let (id, cursor) = (
            self.accounts[at].id().to_owned(),
            self.accounts[at].cursor(),
        );
        let mut change = begin(&mut self.store, &self.shared, self.epoch)?;
        let deleted = change.delete_oldest(&id, cursor, 1)?;
        change.commit()?;
        let account = &mut self.accounts[at];
        account.bytes = account.bytes.saturating_sub(deleted.bytes);
        Ok(deleted.lines)
    }

    /// Makes several rows of one that is too large for the send ring.
    fn divide(&mut self, at: usize, row: &Row) -> Result<(), Trouble> {
        let account = &self.accounts[at];
        let (id, cursor) = (account.id().to_owned(), account.cursor());
        let mut change = begin(&mut self.store, &self.shared, self.epoch)?;
        change.delete_oldest(&id, cursor, 1)?;
        let (mut rest, mut seq) = (&row.payload[..], row.seq);
        while !rest.is_empty() {
            let near = &rest[..rest.len().min(PIECE)];
            let end = memchr::memrchr(b'\n', near).or_else(|| memchr::memchr(b'\n', rest));
            let (payload, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
            change.insert(&NewRow {
                destination: &id,
                seq,
                first_at_ms: row.first_at_ms,
                last_at_ms: row.last_at_ms,
                lines: memchr::memchr_iter(b'\n', payload).count() as u64,
                payload,
            })?;
            (rest, seq) = (after, seq + 1);
        }
        Ok(change.commit()?)
    }

    fn set_aside(&mut self, at: usize, seq: i64, reason: &str) -> Result<(), Trouble> {
        let id = self.accounts[at].id().to_owned();
        let mut change = begin(&mut self.store, &self.shared, self.epoch)?;
        let gone = change.set_aside(&id, seq, reason)?;
        change.commit()?;
        tracing::error!(
            destination = id,
            row = seq,
            reason,
            lines = gone.lines,
            "a row can't be read: set aside"
        );
        let account = &mut self.accounts[at];
        account.bytes = account.bytes.saturating_sub(gone.bytes);
        self.drop_spooled(at, DropReason::SpoolDamaged, gone.lines)
    }

    /// Moves lines straight to the send ring when no row is before them. True: there are more, and room.
    pub(super) fn pass_on(&mut self, at: usize) -> Result<bool, Trouble> {
        let account = &self.accounts[at];
        let (intake, send) = (&account.queue.intake, &account.queue.send);
        if intake.used() == 0 || !account.replayed || (account.spools() && account.is_down()) {
            return Ok(false);
        }
        let (text, lines) = intake.oldest(intake.acked(), room(account) as usize);
        let bytes = text.len() as u64;
        if bytes == 0 || bytes > room(account) {
            return Ok(false);
        }
        let oldest = intake.oldest_at().unwrap_or_else(now_ms);
        self.lane(|lane| {
            let mut append = send.append();
            if bytes > append.room() {
                return;
            }
            append.push(text, lines);
            append.publish(&mut lane.writer, oldest);
            intake.moved(&mut lane.writer, intake.acked() + bytes, lines);
            append.finish();
        })?;
        Ok(intake.used() > 0)
    }

    /// New lines go to the send ring again, once nothing is before them elsewhere.
    pub(super) fn turn_back(&mut self, at: usize) -> Result<(), Trouble> {
        let account = &self.accounts[at];
        let queue = &account.queue;
        let low = queue.send.used() <= queue.send.capacity() / 4;
        let down = account.spools() && account.is_down();
        if !queue.is_spooling() || !account.replayed || down || !low {
            return Ok(());
        }
        self.lane(|lane| {
            let _nobody_writes = (queue.send.append(), queue.intake.append());
            if queue.intake.used() == 0 {
                lane.writer.set(queue.send.cells(), Cell::Spooling, 0);
                lane.writer.commit();
            }
        })
    }
}

/// Bytes that the send ring should still take of what isn't new.
fn room(account: &Account) -> u64 {
    let send = &account.queue.send;
    let most = match account.queue.policy().live_first {
        // New lines wait behind what is in the ring.
        true => send.capacity() / 4,
        false => send.capacity() / 4 * 3,
    };
    most.saturating_sub(send.used()).min(send.room())
}

impl Account {
    /// Whether `replay_rate` lets it replay now.
    fn has_tokens(&mut self) -> bool {
        let Some(rate) = self.destination.spec.spool.rate else {
            return true;
        };
        let now = Instant::now();
        let passed = (now - self.refilled).min(Duration::from_secs(1));
        self.refilled = now;
        let most = rate as f64;
        self.tokens = (self.tokens + passed.as_secs_f64() * most).min(most);
        if self.tokens > 0.0 {
            self.refilled = now;
        }
        self.tokens > 0.0
    }

    fn is_too_old(&self, row: &Row) -> bool {
        let oldest = match self.destination.spec.spool.from {
            None => return false,
            Some(ReplayFrom::At(ms)) => ms,
            Some(ReplayFrom::Age(age)) => now_ms().saturating_sub(age.as_millis() as u64),
        };
        row.last_at_ms < oldest
    }
}
