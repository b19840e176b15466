//! What the spool knows of one destination.

use std::sync::Arc;
use std::time::Instant;

use crate::destination::{Destination, State};
use crate::ledger::{Cell, Writer};
use crate::queue::{Queue, WhenFull};
use crate::state::{NewRow, Position};

/// Rows are numbered in steps, so that one can be divided.
pub(super) const STEP: i64 = 256;
/// The first row's number: rows can be put in front of it for a very long time.
pub(super) const FIRST: i64 = 1 << 40;
/// The largest row.
const ROW: u64 = 1 << 20;

/// A destination, its queue, and what of it is in the database.
#[derive(Debug)]
pub(super) struct Account {
    pub destination: Arc<Destination>,
    pub queue: Arc<Queue>,
    /// The number of the next row that is added behind the others.
    pub next_seq: i64,
    /// Bytes of its rows, as far as they count towards `spool_max`.
    pub bytes: u64,
    /// It is as the database and the ledger say.
    pub agreed: bool,
    /// There is no row that isn't in the send ring.
    pub replayed: bool,
    /// The size of the next row to replay, if it was found to be too large for the room there was.
    pub next_row: u64,
    /// The head of the send ring when it was last copied to rows.
    pub front: u64,
    /// Since when it is down.
    pub down_since: Option<Instant>,
    /// Lines that may be replayed now, with `replay_rate`.
    pub tokens: f64,
    pub refilled: Instant,
}

impl Account {
    pub fn new(destination: Arc<Destination>) -> Account {
        Account {
            queue: destination.queue.clone(),
            destination,
            next_seq: FIRST,
            bytes: 0,
            agreed: false,
            replayed: false,
            next_row: 0,
            front: 0,
            down_since: None,
            tokens: 0.0,
            refilled: Instant::now(),
        }
    }

    pub fn id(&self) -> &str {
        &self.destination.spec.id
    }

    /// Whether its config has it spool.
    pub fn spools(&self) -> bool {
        self.queue.policy().when_full == WhenFull::Spool
    }

    /// Whether it takes lines.
    pub fn is_up(&self) -> bool {
        self.destination.health().state == State::Up && !self.destination.is_gone()
    }

    /// Whether it is known to take none.
    pub fn is_down(&self) -> bool {
        self.destination.health().state == State::Down || self.destination.is_gone()
    }

    /// The last row that is in the send ring; `None`: none is.
    pub fn cursor(&self) -> Option<i64> {
        match self.queue.send.cell(Cell::Cursor) as i64 {
            0 => None,
            seq => Some(seq),
        }
    }

    /// The rows that are to be deleted, if it is time.
    pub fn due(&self) -> Option<i64> {
        let send = &self.queue.send;
        match send.cell(Cell::Barrier) as i64 {
            0 => None,
            seq => (send.tail() >= send.cell(Cell::BarrierEnd)).then_some(seq),
        }
    }

    /// The next barrier, once rows up to the present one are deleted.
    pub fn next_barrier(&self, writer: &mut Writer) {
        let send = &self.queue.send;
        let (cursor, end) = (send.cell(Cell::Cursor), send.cell(Cell::CursorEnd));
        let next = match cursor == send.cell(Cell::Barrier) {
            true => (0, 0),
            false => (cursor, end),
        };
        writer.set(send.cells(), Cell::Barrier, next.0);
        writer.set(send.cells(), Cell::BarrierEnd, next.1);
    }

    /// A new row of it: lines that came in between these times, in milliseconds since 1970.
    pub fn row<'a>(
        &'a self,
        seq: i64,
        (first_at_ms, last_at_ms): (u64, u64),
        lines: u64,
        payload: &'a [u8],
    ) -> NewRow<'a> {
        NewRow {
            destination: self.id(),
            seq,
            first_at_ms,
            last_at_ms,
            lines,
            payload,
        }
    }

    /// The largest row that is made for it: several fit into its send ring.
    pub fn row_size(&self) -> usize {
        ROW.min(self.queue.send.capacity() / 8) as usize
    }

    /// Adds to what is booked as being in the spool, and takes away.
    pub fn book(&self, writer: &mut Writer, into: u64, out: u64) {
        let intake = &self.queue.intake;
        for (cell, lines) in [(Cell::SpooledIn, into), (Cell::SpooledOut, out)] {
            if lines > 0 {
                writer.set(intake.cells(), cell, intake.cell(cell) + lines);
            }
        }
    }

    /// The number of a new row behind the others.
    pub fn take_seq(&mut self) -> i64 {
        let seq = self.next_seq;
        self.next_seq += STEP;
        seq
    }

    /// Continues behind these numbers.
    pub fn number_after(&mut self, highest: Option<i64>, purged: Option<i64>) {
        let purged = purged.map(|through| through.saturating_add(FIRST));
        let known = [
            highest.map(|seq| seq + STEP),
            purged,
            self.cursor().map(|seq| seq + STEP),
        ];
        self.next_seq = known.into_iter().flatten().fold(FIRST, i64::max);
    }

    /// Under which name the database notes how far the send ring was copied.
    pub fn front_name(&self) -> String {
        format!("{}\u{1}front", self.id())
    }

    /// What the intake ring's position is called in the database.
    pub fn position(&self, position: u64) -> Position {
        Position {
            ring: self.queue.intake.cell(Cell::RingId),
            position,
        }
    }
}
