//! One lane's changes to the ledger, all or nothing.

use std::sync::Arc;
use std::sync::atomic::{Ordering, compiler_fence};

use super::{
    CELLS, Cell, Count, Ledger, Object, Offset, RECORD_ENTRIES, STREAMS, Slot, WIDTH, counter,
    record,
};

/// Collects changes, then makes them at once.
///
/// A lane's writer is used by one thread at a time (the lane's lock), a cell or a stream by who holds
/// its owner's lock. Within one commit a word is added to once.
#[derive(Debug)]
pub struct Writer {
    ledger: Arc<Ledger>,
    lane: usize,
    changes: Vec<(u32, u64)>,
}

impl Writer {
    /// The writer of a lane below [`super::LANES`].
    pub fn new(ledger: Arc<Ledger>, lane: usize) -> Writer {
        assert!(lane < super::LANES, "lane {lane}");
        Writer {
            ledger,
            lane,
            changes: Vec::with_capacity(64),
        }
    }

    /// Adds to a counter.
    pub fn add(&mut self, object: Object, count: impl Into<Count>, n: u64) {
        if n == 0 {
            return;
        }
        let word = counter(self.lane, object, count.into().word());
        debug_assert!(
            self.changes.iter().all(|(w, _)| *w != word as u32),
            "a counter is added to once in a commit"
        );
        self.changes
            .push((word as u32, self.ledger.words.load(word) + n));
    }

    /// Sets a cell.
    pub fn set(&mut self, object: Object, cell: Cell, value: u64) {
        let word = CELLS + object.0 as usize * WIDTH + cell as usize;
        self.changes.push((word as u32, value));
    }

    /// Sets how far a stream is accounted for.
    pub fn set_offset(&mut self, slot: Slot, offset: Offset) {
        let word = STREAMS + 2 * slot.0 as usize + 1;
        self.changes.push((word as u32, offset.word()));
    }

    /// Gives a slot to a connection, whose stream begins at `offset`.
    pub fn open_stream(&mut self, slot: Slot, cookie: u64, offset: Offset) {
        let word = STREAMS + 2 * slot.0 as usize;
        self.changes.push((word as u32, cookie));
        self.changes.push((word as u32 + 1, offset.word()));
    }

    /// Forgets what was collected.
    pub fn abandon(&mut self) {
        self.changes.clear();
    }

    /// Makes the changes.
    ///
    /// More than fit in a record (65,535, a batch for 20,000 destinations) are made in several steps.
    pub fn commit(&mut self) {
        if self.changes.len() == 1 {
            let (word, value) = self.changes[0];
            self.ledger.words.store(word as usize, value);
            self.changes.clear();
            return;
        }
        while !self.changes.is_empty() {
            let count = self.write_record();
            self.make_valid();
            for (word, value) in self.changes.drain(..count) {
                self.ledger
                    .words
                    .at(word as usize)
                    .store(value, Ordering::Release);
            }
            // A kill stops a process between two instructions: what must hold is only that the
            // compiler keeps this order.
            compiler_fence(Ordering::SeqCst);
            self.ledger.words.store(record(self.lane), 0);
        }
    }

    /// Writes what was collected to the lane's record, which isn't valid yet.
    pub(super) fn write_record(&self) -> usize {
        let record = record(self.lane);
        let count = self.changes.len().min(RECORD_ENTRIES);
        for (entry, (word, value)) in self.changes[..count].iter().enumerate() {
            let at = record + 2 * (entry + 1);
            self.ledger
                .words
                .at(at)
                .store(u64::from(*word), Ordering::Relaxed);
            self.ledger
                .words
                .at(at + 1)
                .store(*value, Ordering::Relaxed);
        }
        count
    }

    /// The one store that makes a commit happen.
    pub(super) fn make_valid(&self) {
        let count = self.changes.len().min(RECORD_ENTRIES);
        compiler_fence(Ordering::SeqCst);
        self.ledger.words.store(record(self.lane), count as u64);
        compiler_fence(Ordering::SeqCst);
    }
}
