//! The send ring and the database: brought into agreement at the beginning, copied to rows while the destination is down,
//! moved there at the end.

use super::Shared;
use super::account::{Account, STEP};
use super::engine::{Engine, Trouble};
use crate::intake::now_ms;
use crate::ledger::{Cell, DropReason};
use crate::spec::SpoolFull;
use crate::state::{Change, Position, Store, StoreError};

impl Engine {
    /// Finds out where a predecessor was, or what is left from before.
    pub(super) fn agree(&mut self) -> Result<(), Trouble> {
        let store = self.store.as_mut().ok_or_else(missing)?;
        // Whoever was committing has done it, or never will.
        drop(store.begin()?);
        let totals = store.totals()?;
        let all = self.accounts.iter().all(|account| !account.agreed);
        for at in 0..self.accounts.len() {
            if self.accounts[at].agreed {
                continue;
            }
            let total = totals
                .iter()
                .find(|t| t.destination == self.accounts[at].id());
            self.accounts[at].bytes = total.map_or(0, |t| t.bytes);
            self.agree_on(at, total.map_or(0, |t| t.lines))?;
            self.accounts[at].agreed = true;
        }
        let known = |id: &str| self.accounts.iter().any(|account| account.id() == id);
        let orphans = totals.iter().filter(|t| all && !known(&t.destination));
        for total in orphans {
            tracing::warn!(
                destination = total.destination,
                lines = total.lines,
                bytes = total.bytes,
                "lines in the spool for a destination that the config doesn't have: kept (see baton spool)"
            );
        }
        Ok(())
    }

    fn agree_on(&mut self, at: usize, lines: u64) -> Result<(), Trouble> {
        let account = &self.accounts[at];
        let (id, front_name) = (account.id().to_owned(), account.front_name());
        let queue = account.queue.clone();
        let (intake, send) = (&queue.intake, &queue.send);
        let store = self.store()?;
        let (position, front) = (store.position(&id)?, store.position(&front_name)?);
        let (bounds, purged) = (store.bounds(&id)?, store.purged_through(&id)?);
        let ring = intake.cell(Cell::RingId);
        let same = position.filter(|position| ring != 0 && position.ring == ring);
        let copied =
            front.filter(|front| ring != 0 && front.position == send.head() && front.position > 0);
        if ring == 0 && front.is_some() {
            // Of a ring there was before: it would speak of this one when that comes to the same position.
            let mut change = store.begin()?;
            change.set_position(
                &front_name,
                Position {
                    ring: 0,
                    position: 0,
                },
            )?;
            change.commit()?;
        }
        self.lane(|lane| {
            let (account, writer) = (&self.accounts[at], &mut lane.writer);
            if ring == 0 {
                writer.set(intake.cells(), Cell::RingId, random());
            }
            if let Some(copied) = copied {
                account.in_ring(writer, copied.ring as i64, copied.position);
            }
            writer.commit();
            // Committed, and the ledger not told.
            if let Some(end) = same
                .map(|at| at.position)
                .filter(|end| *end > intake.acked())
            {
                let text = intake.bytes(intake.acked(), (end - intake.acked()) as usize);
                let moved = memchr::memchr_iter(b'\n', text).count() as u64;
                account.book(writer, moved, 0);
                intake.moved(writer, end.min(intake.head()), moved);
            }
        })?;
        let account = &mut self.accounts[at];
        account.front = copied.map_or(0, |copied| copied.position);
        account.number_after(bounds.map(|(_, highest)| highest), purged);
        let cursor = account.cursor();
        let in_ring = match cursor {
            Some(cursor) => self.store()?.lines_through(&id, cursor)?,
            None => 0,
        };
        self.accounts[at].replayed = self.first_free(at)?.is_none();
        self.balance(at, lines.saturating_sub(in_ring))
    }

    /// What is booked as being in the spool becomes what is there.
    fn balance(&mut self, at: usize, there: u64) -> Result<(), Trouble> {
        let queue = self.accounts[at].queue.clone();
        let booked = queue.spooled_lines();
        if there > booked {
            self.import(at, there - booked)?;
        } else if booked > there {
            // A predecessor made room, and died before it could book that; else somebody has deleted rows.
            let limits = &self.accounts[at].destination.spec.spool;
            let reason = match limits.when_full {
                SpoolFull::DropOldest if self.accounts[at].bytes > limits.max / 2 => {
                    DropReason::SpoolFull
                }
                _ => DropReason::SpoolDamaged,
            };
            self.drop_spooled(at, reason, booked - there)?;
        }
        if there > 0 && !queue.is_spooling() {
            self.turn_to_spool(at)?;
        }
        Ok(())
    }

    /// From now on new lines go to the intake ring.
    pub(super) fn turn_to_spool(&self, at: usize) -> Result<(), Trouble> {
        let send = &self.accounts[at].queue.send;
        self.lane(|lane| {
            let _nobody_writes = send.append();
            lane.writer.set(send.cells(), Cell::Spooling, 1);
            lane.writer.commit();
        })
    }

    /// Copies the send ring of a destination that is down, unless it is copied already.
    pub(super) fn keep_front(&mut self, at: usize) -> Result<(), Trouble> {
        let queue = self.accounts[at].queue.clone();
        // Nobody writes to the ring from here on: no live line, and none that was on its way.
        queue.set_live(false);
        self.turn_to_spool(at)?;
        let head = queue.send.head();
        if self.accounts[at].front == head {
            return Ok(());
        }
        let first = self.first_free(at)?;
        let account = &mut self.accounts[at];
        let mut change = begin(&mut self.store, &self.shared, self.epoch)?;
        let written = write_front(account, &mut change, first)?;
        let position = Position {
            ring: written.last as u64,
            position: head,
        };
        change.set_position(&account.front_name(), position)?;
        change.commit()?;
        account.bytes = (account.bytes + written.bytes).saturating_sub(written.deleted);
        account.front = head;
        let account = &self.accounts[at];
        self.lane(|lane| {
            account.in_ring(&mut lane.writer, written.last, head);
            lane.writer.commit();
        })
    }

    /// The numbers before the first row that isn't in the send ring are free for rows in front of it; `None`: there is none such.
    fn first_free(&mut self, at: usize) -> Result<Option<i64>, Trouble> {
        let (id, cursor) = (
            self.accounts[at].id().to_owned(),
            self.accounts[at].cursor(),
        );
        Ok(self.store()?.next_seq(&id, cursor)?)
    }

    /// Moves all that is queued in memory to rows: the destination is being given up. Returns the lines moved.
    pub(super) fn stow(&mut self, at: usize) -> Result<u64, Trouble> {
        // First a copy, of which the ledger knows that it is in the ring: then it doesn't matter after which step a kill falls.
        self.accounts[at].front = u64::MAX;
        self.keep_front(at)?;
        let account = &mut self.accounts[at];
        let queue = account.queue.clone();
        let mut change = begin(&mut self.store, &self.shared, self.epoch)?;
        let (mut end, mut moved, now) = (queue.intake.acked(), 0, now_ms());
        let (first_at, row_size) = (queue.intake.oldest_at().unwrap_or(now), account.row_size());
        loop {
            let (payload, lines) = queue.intake.oldest(end, row_size);
            if lines == 0 {
                break;
            }
            let seq = account.take_seq();
            change.insert(&account.row(seq, (first_at, now), lines, payload))?;
            end += payload.len() as u64;
            moved += lines;
        }
        change.set_position(account.id(), account.position(end))?;
        change.set_position(
            &account.front_name(),
            Position {
                ring: 0,
                position: 0,
            },
        )?;
        change.commit()?;
        account.replayed = false;
        let account = &self.accounts[at];
        let in_send = queue.send.queued_lines();
        self.lane(|lane| {
            let writer = &mut lane.writer;
            for cell in [
                Cell::Cursor,
                Cell::CursorEnd,
                Cell::Barrier,
                Cell::BarrierEnd,
            ] {
                writer.set(queue.send.cells(), cell, 0);
            }
            account.book(writer, in_send + moved, 0);
            queue.send.moved(writer, queue.send.head(), in_send);
            queue.intake.moved(writer, end, moved);
        })?;
        Ok(in_send + moved)
    }
}

/// Begins a transaction, unless this worker was frozen since it agreed with the database. Who takes over waits for its end.
pub(super) fn begin<'a>(
    store: &'a mut Option<Store>,
    shared: &Shared,
    epoch: u64,
) -> Result<Change<'a>, Trouble> {
    begin_in(store.as_mut().ok_or_else(missing)?, shared, epoch)
}

/// The same, of a database that is open.
pub(super) fn begin_in<'a>(
    store: &'a mut Store,
    shared: &Shared,
    epoch: u64,
) -> Result<Change<'a>, Trouble> {
    let change = store.begin()?;
    match shared.is_current(epoch) {
        true => Ok(change),
        false => Err(Trouble::Frozen),
    }
}

/// What is said of a database that isn't open.
pub(super) fn missing() -> StoreError {
    StoreError::Unavailable("it isn't open".into())
}

/// What `write_front` did.
struct Front {
    /// The last row's number.
    last: i64,
    bytes: u64,
    deleted: u64,
}

/// Replaces the rows that are in the send ring by rows of what it holds, all in front of row `first`.
fn write_front(
    account: &mut Account,
    change: &mut Change<'_>,
    first: Option<i64>,
) -> Result<Front, StoreError> {
    let queue = account.queue.clone();
    let deleted = match account.cursor() {
        Some(cursor) => change.delete_through(account.id(), cursor)?.bytes,
        None => 0,
    };
    let (send, now, row_size) = (&queue.send, now_ms(), account.row_size());
    let first_at = send.oldest_at().unwrap_or(now);
    let (mut rows, mut at) = (Vec::new(), send.acked());
    loop {
        let (payload, lines) = send.oldest(at, row_size);
        if lines == 0 {
            break;
        }
        rows.push((payload, lines));
        at += payload.len() as u64;
    }
    // In steps, as all others: each may have to be divided.
    let steps = STEP * rows.len() as i64;
    let seq = match first {
        Some(first) => first - steps,
        None => {
            let seq = account.next_seq;
            account.next_seq += steps;
            seq
        }
    };
    let mut front = Front {
        // Without any, none of the rows that follow is among them.
        last: seq - 1,
        bytes: 0,
        deleted,
    };
    for (seq, (payload, lines)) in (seq..).step_by(STEP as usize).zip(rows) {
        change.insert(&account.row(seq, (first_at, now), lines, payload))?;
        front = Front {
            last: seq,
            bytes: front.bytes + payload.len() as u64,
            deleted,
        };
    }
    Ok(front)
}

impl Account {
    /// Rows up to this one are in the send ring, the last of them to this position.
    fn in_ring(&self, writer: &mut crate::ledger::Writer, seq: i64, end: u64) {
        let cells = self.queue.send.cells();
        for (cell, value) in [
            (Cell::Cursor, seq as u64),
            (Cell::CursorEnd, end),
            (Cell::Barrier, seq as u64),
            (Cell::BarrierEnd, end),
        ] {
            writer.set(cells, cell, value);
        }
    }
}

/// A number that no other ring has.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id()) | 1
}
