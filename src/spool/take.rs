//! Intake ring → rows.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::account::Account;
use super::engine::{Engine, Trouble};
use super::front::begin;
use super::tend::log_share;
use crate::intake::now_ms;
use crate::ledger::{Cell, DropReason};
use crate::spec::SpoolFull;
use crate::state::{Change, Deleted, StoreError};

/// The most that one transaction writes.
const TRANSACTION: u64 = 4 << 20;
/// What a transaction may take of the disk: its rows, one more, and what they cost in the log.
const NEED: u64 = TRANSACTION + (2 << 20);
/// How long one is waited for when the log takes half of `max_size`.
const LOG: Duration = Duration::from_secs(10);
/// How long a checkpoint is waited for when the disk is nearly full.
const CHECKPOINT: Duration = Duration::from_secs(1);

/// What a transaction did for one account, for the ledger, once it is committed.
#[derive(Debug, Default)]
struct Taken {
    account: usize,
    /// The intake ring's new tail, and the lines up to it.
    end: u64,
    lines: u64,
    bytes: u64,
    /// Of those lines: not stored, since the spool is full.
    refused: u64,
    /// Rows dropped to make room.
    dropped: Deleted,
    /// Rows deleted that were delivered.
    delivered: Option<Deleted>,
}

/// What all spools together may take.
struct Limit {
    /// What they take, with what was done in this transaction.
    used: u64,
    most: u64,
    /// It is the disk that allows no more, and not the config.
    by_disk: bool,
    /// A row found no room on the disk.
    disk_is_full: bool,
}

/// Whether a row may be added.
enum Room {
    Yes,
    /// Its lines are dropped.
    Refuse,
    /// Its lines stay where they are.
    Wait,
}

impl Engine {
    /// Writes what has come in to rows, and deletes rows that were delivered, in one transaction. True: there is more.
    pub(super) fn take_intakes(&mut self) -> Result<bool, Trouble> {
        let work = |account: &Account| {
            account.due().is_some() || (account.spools() && account.queue.intake.used() > 0)
        };
        if !self.accounts.iter().any(work) {
            self.well();
            return Ok(false);
        }
        let Some(mut limit) = self.limit()? else {
            return Ok(false);
        };
        let mut change = begin(&mut self.store, &self.shared, self.epoch)?;
        let (mut done, mut left, mut more) = (Vec::new(), TRANSACTION, false);
        let accounts = self.accounts.len();
        self.first = (self.first + 1) % accounts;
        for at in (0..accounts).map(|step| (self.first + step) % accounts) {
            let account = &mut self.accounts[at];
            let mut taken = Taken {
                account: at,
                end: account.queue.intake.acked(),
                ..Taken::default()
            };
            if let Some(seq) = account.due() {
                let deleted = change.delete_through(account.id(), seq)?;
                limit.used = limit.used.saturating_sub(deleted.bytes);
                taken.delivered = Some(deleted);
            }
            let waits = account.spools() && left > 0 && account.queue.intake.used() > 0;
            if waits {
                more |= take_one(account, &mut change, &mut taken, &mut left, &mut limit)?;
            }
            if taken.lines > 0 || taken.delivered.is_some() {
                done.push(taken);
            }
        }
        if !self.shared.is_current(self.epoch) {
            return Err(Trouble::Frozen);
        }
        change.commit()?;
        if !done.is_empty() {
            self.shared.dirty.store(true, Ordering::Relaxed);
        }
        for taken in done {
            self.note_taken(taken)?;
        }
        if limit.disk_is_full {
            self.complain(StoreError::Full.to_string());
        } else {
            self.well();
        }
        Ok(more)
    }

    /// How much may be in the database; `None`: nothing can be written now, and what the policy says was done.
    fn limit(&mut self) -> Result<Option<Limit>, Trouble> {
        let max_size = self.plan.max_size;
        let (size, disk) = {
            let store = self.store()?;
            (store.size()?, store.disk()?)
        };
        let share = log_share(max_size);
        let held = self.shared.health().wal_held;
        if size.wal > share * 2 {
            self.press(size.wal);
        }
        // Whatever is written makes it longer.
        if size.wal > max_size / 2 {
            let since = *self.long_since.get_or_insert_with(Instant::now);
            let failure = self.shared.health().log_error.clone();
            let why = match (held, failure) {
                (true, _) => "a reader holds a transaction open".to_owned(),
                (false, Some(error)) => format!("the log can't be copied into the file ({error})"),
                (false, None) => "the log isn't copied into the file".to_owned(),
            };
            // Copying half of it takes its time.
            if held || since.elapsed() > LOG {
                self.complain(format!("{why}: it takes {} bytes of max_size", size.wal));
                self.relieve();
            }
            return Ok(None);
        }
        self.long_since = None;
        let wanted = disk.promised + NEED;
        if disk.room < wanted + NEED {
            self.press(size.wal);
            // What the log has, or has promised to the file, a checkpoint may free.
            let since = *self.tight_since.get_or_insert_with(Instant::now);
            let helps = disk.promised > 0 || size.wal > NEED;
            if helps && since.elapsed() < CHECKPOINT {
                return Ok(None);
            }
            if disk.promised > 0 && disk.room < wanted {
                return Err(StoreError::Full.into());
            }
        } else {
            self.tight_since = None;
        }
        let used = (size.file + disk.promised).saturating_sub(size.free);
        // The log grows, too.
        let by_disk = used + size.free + disk.room.saturating_sub(wanted) / 2;
        let by_config = max_size.saturating_sub(if held { share.max(size.wal) } else { share });
        Ok(Some(Limit {
            used,
            most: by_disk.min(by_config),
            by_disk: by_disk < by_config,
            disk_is_full: false,
        }))
    }

    /// Tells the ledger what was committed.
    fn note_taken(&mut self, taken: Taken) -> Result<(), Trouble> {
        let account = &mut self.accounts[taken.account];
        account.bytes += taken.bytes;
        for deleted in [Some(&taken.dropped), taken.delivered.as_ref()]
            .into_iter()
            .flatten()
        {
            account.bytes = account.bytes.saturating_sub(deleted.bytes);
        }
        if taken.bytes > 0 {
            account.replayed = false;
        }
        let account = &self.accounts[taken.account];
        self.lane(|lane| {
            let writer = &mut lane.writer;
            if taken.delivered.is_some() {
                account.next_barrier(writer);
            }
            let refused = taken.refused + taken.dropped.lines;
            writer.add(account.queue.counts(), DropReason::SpoolFull, refused);
            account.book(writer, taken.lines - taken.refused, taken.dropped.lines);
            account.queue.intake.moved(writer, taken.end, taken.lines);
        })
    }
}

/// Writes one account's lines. True: there are more.
fn take_one(
    account: &mut Account,
    change: &mut Change<'_>,
    taken: &mut Taken,
    left: &mut u64,
    limit: &mut Limit,
) -> Result<bool, Trouble> {
    let queue = account.queue.clone();
    let (now, row_size) = (now_ms(), account.row_size());
    let first_at = queue.intake.oldest_at().unwrap_or(now).min(now);
    loop {
        let (text, lines) = queue.intake.oldest(taken.end, row_size);
        let bytes = text.len() as u64;
        if bytes == 0 {
            break;
        }
        if *left < bytes && *left < TRANSACTION {
            finish(account, change, taken)?;
            return Ok(true);
        }
        match room_for(account, change, taken, bytes, limit)? {
            Room::Yes => {
                let seq = account.take_seq();
                change.insert(&account.row(seq, (first_at, now), lines, text))?;
                taken.bytes += bytes;
                limit.used += bytes;
            }
            Room::Refuse => taken.refused += lines,
            Room::Wait => break,
        }
        taken.end += bytes;
        taken.lines += lines;
        *left = left.saturating_sub(bytes);
    }
    finish(account, change, taken)?;
    Ok(false)
}

fn finish(account: &Account, change: &mut Change<'_>, taken: &Taken) -> Result<(), Trouble> {
    if taken.lines > 0 {
        change.set_position(account.id(), account.position(taken.end))?;
    }
    Ok(())
}

/// Applies the limits of the destination and of all together.
fn room_for(
    account: &Account,
    change: &mut Change<'_>,
    taken: &mut Taken,
    bytes: u64,
    all: &mut Limit,
) -> Result<Room, Trouble> {
    let limits = &account.destination.spec.spool;
    let gone = taken.dropped.bytes + taken.delivered.as_ref().map_or(0, |d| d.bytes);
    let held = (account.bytes + taken.bytes).saturating_sub(gone);
    let over = (held + bytes).saturating_sub(limits.max);
    let over_all = (all.used + bytes).saturating_sub(all.most);
    if over == 0 && over_all == 0 {
        return Ok(Room::Yes);
    }
    all.disk_is_full |= over == 0 && all.by_disk;
    match limits.when_full {
        SpoolFull::Block => Ok(Room::Wait),
        SpoolFull::DropNewest => Ok(Room::Refuse),
        SpoolFull::DropOldest => {
            let cursor = match account.queue.send.cell(Cell::Cursor) as i64 {
                0 => None,
                seq => Some(seq),
            };
            let dropped =
                change.delete_oldest(account.id(), cursor, over.max(over_all).max(bytes))?;
            taken.dropped.rows += dropped.rows;
            taken.dropped.lines += dropped.lines;
            taken.dropped.bytes += dropped.bytes;
            all.used = all.used.saturating_sub(dropped.bytes);
            // All that is left is in the send ring, or belongs to others.
            Ok(match dropped.rows {
                0 => Room::Refuse,
                _ => Room::Yes,
            })
        }
    }
}
