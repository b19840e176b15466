//! Writing: all of a change, or nothing.

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::super::{ChangeRow, Deleted, GenerationRow, NewRow, Position, StoreError, time};
use super::convert::{fault, signed, unsigned};
use super::remains::Remains;
use super::{history, spool, sql};

/// A write transaction. Nobody else can write until it ends. Dropped without a commit, it is undone.
///
/// After an error it is best dropped. SQLite has undone it already after [`StoreError::Full`] and some I/O errors, and
/// writes nothing more after [`StoreError::Damaged`]: then all that follows fails, too.
#[derive(Debug)]
pub struct Change<'a> {
    tx: Transaction<'a>,
    events_kept: u64,
}

impl<'a> Change<'a> {
    pub(super) fn begin(
        conn: &'a mut Connection,
        events_kept: u64,
    ) -> Result<Change<'a>, StoreError> {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate);
        let tx = tx.map_err(fault)?;
        Ok(Change { tx, events_kept })
    }

    pub(super) fn conn(&self) -> Result<&Connection, StoreError> {
        match self.tx.is_autocommit() {
            false => Ok(&self.tx),
            // What follows would be committed one by one.
            true => Err(StoreError::Unavailable(
                "the transaction was undone after an error".to_owned(),
            )),
        }
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.tx
    }

    /// Puts a row into its place. Where rows were purged, those from this place on are deleted now, so that it lives.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the place is taken.
    pub fn insert(&mut self, row: &NewRow<'_>) -> Result<(), StoreError> {
        let sql = "INSERT INTO spool (destination, seq, first_at, last_at, lines, bytes, payload)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let inserted = || {
            self.tx.prepare_cached(sql)?.execute(params![
                row.destination,
                row.seq,
                time::iso(row.first_at_ms),
                time::iso(row.last_at_ms),
                signed(row.lines),
                signed(row.payload.len() as u64),
                row.payload,
            ])
        };
        self.conn()?;
        inserted().map(drop).map_err(fault)
    }

    /// Notes how far a ring was taken over.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn set_position(
        &mut self,
        destination: &str,
        position: Position,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO spool_position VALUES (?1, ?2, ?3)
            ON CONFLICT (destination) DO UPDATE SET ring = excluded.ring, position = excluded.position";
        let values = params![
            destination,
            position.ring.cast_signed(),
            position.position.cast_signed()
        ];
        let conn = self.conn()?;
        let set = conn
            .prepare_cached(sql)
            .and_then(|mut sql| sql.execute(values));
        set.map(drop).map_err(fault)
    }

    /// How far a ring was taken over, this change included.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn position(&self, destination: &str) -> Result<Option<Position>, StoreError> {
        spool::position(self.conn()?, destination).map_err(fault)
    }

    /// Deletes all rows up to this place.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if one of them, or its neighbour in the file, is: another change can [purge](Change::purge)
    /// them, which doesn't touch them.
    pub fn delete_through(&mut self, destination: &str, seq: i64) -> Result<Deleted, StoreError> {
        self.taken(destination, |change| {
            let from = spool::purged_through(&change.tx, destination)?;
            change.delete(destination, from.unwrap_or(i64::MIN), seq)
        })
    }

    /// Deletes the oldest rows behind this place until so many bytes of payload are gone: one row at least.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn delete_oldest(
        &mut self,
        destination: &str,
        after: Option<i64>,
        bytes: u64,
    ) -> Result<Deleted, StoreError> {
        self.taken(destination, |change| {
            let after = after.unwrap_or(i64::MIN);
            let purged = spool::purged_through(&change.tx, destination)?;
            let after = after.max(purged.unwrap_or(i64::MIN));
            match change.oldest(destination, after, bytes)? {
                Some(through) => change.delete(destination, after, through),
                None => Ok(()),
            }
        })
    }

    /// The place up to which the oldest rows have so many bytes.
    fn oldest(&self, destination: &str, after: i64, bytes: u64) -> rusqlite::Result<Option<i64>> {
        let mut statement = self.tx.prepare_cached(sql::SIZES)?;
        let values = params![destination, after];
        let mut rows = statement.query(values)?;
        let (mut through, mut sum) = (None, 0);
        while let Some(row) = rows.next()? {
            through = Some(row.get(0)?);
            sum += unsigned(row.get(1)?);
            if sum >= bytes {
                break;
            }
        }
        Ok(through)
    }

    /// Takes a row that can't be read out of the way, and keeps what is left of it for people.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn set_aside(
        &mut self,
        destination: &str,
        seq: i64,
        reason: &str,
    ) -> Result<Deleted, StoreError> {
        let before = spool::next_seq(self.conn()?, destination, seq.checked_sub(1));
        if before.map_err(fault)? != Some(seq) {
            return Ok(Deleted::default());
        }
        let found = Remains::of(&self.tx, destination, seq)?;
        self.taken(destination, |change| {
            change.put_aside(destination, seq, reason, &found)
        })
    }

    /// Forgets all rows up to this place, at once however many they are. They take their room until they are
    /// [swept](super::Store::sweep).
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn purge(&mut self, destination: &str, through: i64) -> Result<Deleted, StoreError> {
        self.taken(destination, |change| {
            // Not further than there are rows: those that come later are not meant.
            let Some(highest) = spool::highest_of_all(&change.tx, destination)? else {
                return Ok(());
            };
            let mark = "INSERT INTO spool_purged VALUES (?1, ?2)
                ON CONFLICT (destination) DO UPDATE SET through = max(through, excluded.through)";
            change
                .tx
                .prepare_cached(mark)?
                .execute(params![destination, through.min(highest)])?;
            change
                .tx
                .prepare_cached(sql::COUNT_LEFT)?
                .execute([destination])?;
            Ok(())
        })
    }

    /// Notes a worker, or what became of one that was noted. The oldest are forgotten.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn record_generation(&mut self, generation: &GenerationRow) -> Result<(), StoreError> {
        history::record_generation(self.conn()?, generation, self.events_kept).map_err(fault)
    }

    /// Notes a change that someone made, and tells its number. The oldest are forgotten.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn record_change(&mut self, change: &ChangeRow<'_>) -> Result<u64, StoreError> {
        history::record_change(self.conn()?, change, self.events_kept).map_err(fault)
    }

    /// Makes it last. With [`Synchronous::Full`](super::super::Synchronous::Full) it waits for the disk.
    ///
    /// # Errors
    ///
    /// Nothing of the change was written.
    pub fn commit(self) -> Result<(), StoreError> {
        self.conn()?;
        self.tx.commit().map_err(fault)
    }

    /// See [`super::Store::sweep`].
    pub(super) fn sweep(&mut self, rows: u32) -> Result<(), StoreError> {
        let swept = || {
            let mut left = rows;
            for (destination, seqs) in spool::purged(&self.tx, rows)? {
                let most = seqs.len().min(left as usize);
                if let Some(&last) = seqs[..most].last() {
                    self.delete(&destination, i64::MIN, last)?;
                }
                left -= most as u32;
            }
            Ok(())
        };
        swept().map_err(fault)
    }

    /// Leaves the next row that is to be swept where it is, for good.
    pub(super) fn give_up_sweeping_one(&mut self) -> Result<(), StoreError> {
        let reason = "it was purged, and could not be deleted";
        let given_up = || match spool::purged(&self.tx, 1)?.first() {
            Some((destination, seqs)) if !seqs.is_empty() => {
                self.put_aside(destination, seqs[0], reason, &Remains::default())
            }
            _ => Ok(()),
        };
        given_up().map_err(fault)
    }

    /// Does something to a spool, and says what it took by what the totals say before and after.
    fn taken(
        &self,
        destination: &str,
        act: impl FnOnce(&Self) -> rusqlite::Result<()>,
    ) -> Result<Deleted, StoreError> {
        self.conn()?;
        let taken = || {
            let before = spool::total(&self.tx, destination)?;
            act(self)?;
            Ok(less(before, spool::total(&self.tx, destination)?))
        };
        taken().map_err(fault)
    }

    /// Deletes the rows behind `after` up to `through`.
    fn delete(&self, destination: &str, after: i64, through: i64) -> rusqlite::Result<()> {
        let range = params![destination, after, through];
        self.tx.prepare_cached(sql::DELETE)?.execute(range)?;
        Ok(())
    }

    /// Moves a row to `spool_damaged`. One that can't be read can't be deleted either: it stays where it is, marked as
    /// stuck, and nobody sees it.
    fn put_aside(
        &self,
        destination: &str,
        seq: i64,
        reason: &str,
        found: &Remains,
    ) -> rusqlite::Result<()> {
        let now = time::iso(time::now_ms());
        self.tx.prepare_cached(sql::KEEP)?.execute(params![
            destination,
            seq,
            now,
            reason,
            found.payload.is_none(),
            found.payload,
        ])?;
        if found.payload.is_some() {
            return self.delete(destination, seq - 1, seq);
        }
        let purged = spool::purged_through(&self.tx, destination)?;
        if purged.is_none_or(|through| through < seq) {
            self.tx.prepare_cached(sql::UNCOUNT)?.execute(params![
                destination,
                found.lines,
                found.bytes
            ])?;
        }
        Ok(())
    }
}

fn less(before: Deleted, after: Deleted) -> Deleted {
    Deleted {
        rows: before.rows.saturating_sub(after.rows),
        lines: before.lines.saturating_sub(after.lines),
        bytes: before.bytes.saturating_sub(after.bytes),
    }
}
