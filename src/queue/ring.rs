//! A ring of whole lines in shared memory.
//!
//! ```text
//!   tail ≤ acked ≤ head        positions in bytes since the ring exists, they only grow
//!   |      |       |
//!   |      |       end of the newest line
//!   |      beginning of the oldest line that isn't done with (the peer hasn't acknowledged it, it isn't in the spool)
//!   beginning of the oldest line that is kept (earlier than `acked` with `resend`)
//! ```
//!
//! The positions live in the [ledger](crate::ledger), so that lines, their counters and the stream offset
//! they came from move in one commit. Writers hold the ring's lock from the copying to the commit; `acked` and
//! `tail` are moved by who empties the ring alone.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use tokio::sync::Notify;

use super::Ages;
use crate::ledger::{Cell, Count, DropReason, Kind, Ledger, Object, Writer};
use crate::sys::MappedRing;

/// A destination's ring, and where its counters are.
#[derive(Debug)]
pub struct Ring {
    pub(super) ledger: Arc<Ledger>,
    cells: Object,
    counts: Object,
    map: MappedRing,
    /// Bytes that are kept after they were acknowledged.
    resend: AtomicU64,
    /// It is an intake ring: who empties it is the spool.
    feeds_spool: bool,
    lock: Mutex<Ages>,
    /// The destination sleeps until the head has come here: the writer that gets there wakes it.
    wake_at: AtomicU64,
    /// The spool waits until everything before this position has left: who moves past it wakes the spool.
    refill_at: AtomicU64,
    /// Woken when there are lines to send.
    pub filled: Notify,
    /// Woken when a ring that was above its mark is below it.
    pub drained: Notify,
    /// Who is woken by `refill_at`, and by `filled` too: the spool.
    wanted: OnceLock<Arc<Notify>>,
}

/// The right to write to a ring.
#[derive(Debug)]
pub struct Append<'a> {
    ring: &'a Ring,
    ages: MutexGuard<'a, Ages>,
    start: u64,
    head: u64,
    lines: u64,
    /// The send ring whose queue begins to spool with this.
    turns: Option<Object>,
}

impl Ring {
    /// A ring over `size` bytes of a memfd from `offset` on; its positions are those in the ledger of the `kind`, under the
    /// destination's `id`.
    ///
    /// # Errors
    /// When the memfd doesn't cover that or the ledger is full.
    pub(super) fn open(
        ledger: Arc<Ledger>,
        (kind, id): (Kind, &str),
        memory: BorrowedFd<'_>,
        offset: u64,
        size: u64,
        resend: u64,
    ) -> io::Result<Ring> {
        let size = usize::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?;
        let cells = ledger.object(kind, id)?;
        let counts = ledger.object(Kind::Destination, id)?;
        let map = MappedRing::map(memory, offset, size)?;
        let oldest = ledger.cell(cells, Cell::OldestAt);
        let ages = Ages::new(ledger.cell(cells, Cell::Acked), oldest);
        Ok(Ring {
            ledger,
            cells,
            counts,
            map,
            resend: AtomicU64::new(resend),
            feeds_spool: kind == Kind::Intake,
            lock: Mutex::new(ages),
            wake_at: AtomicU64::new(u64::MAX),
            refill_at: AtomicU64::new(u64::MAX),
            filled: Notify::new(),
            drained: Notify::new(),
            wanted: OnceLock::new(),
        })
    }

    /// The destination's counters in the ledger.
    pub fn counts(&self) -> Object {
        self.counts
    }

    /// The ring's cells in the ledger.
    pub fn cells(&self) -> Object {
        self.cells
    }

    /// A cell of the ring.
    pub fn cell(&self, cell: Cell) -> u64 {
        self.ledger.cell(self.cells, cell)
    }

    /// Its capacity in bytes.
    pub fn size(&self) -> u64 {
        self.map.size() as u64
    }

    /// End of the newest line.
    #[inline]
    pub fn head(&self) -> u64 {
        self.cell(Cell::Head)
    }

    /// Beginning of the oldest line that isn't acknowledged.
    #[inline]
    pub fn acked(&self) -> u64 {
        self.cell(Cell::Acked)
    }

    /// Beginning of the oldest line that is kept.
    #[inline]
    pub fn tail(&self) -> u64 {
        self.cell(Cell::Tail)
    }

    /// Bytes that fit now.
    pub fn room(&self) -> u64 {
        // Two loads: a tail read after the head may have passed it.
        self.size() - self.head().saturating_sub(self.tail()).min(self.size())
    }

    /// Lines that aren't acknowledged.
    pub fn queued_lines(&self) -> u64 {
        // Out first: both only grow, and out never passes in.
        let out = self.cell(Cell::LinesOut);
        self.cell(Cell::LinesIn).saturating_sub(out)
    }

    /// Bytes that nobody is done with yet.
    pub fn used(&self) -> u64 {
        self.head().saturating_sub(self.acked())
    }

    /// Bytes that it can hold beside those that are kept for re-sending.
    pub fn capacity(&self) -> u64 {
        self.size() - self.resend()
    }

    /// Bytes that are kept after they were acknowledged.
    pub fn resend(&self) -> u64 {
        self.resend.load(Ordering::Relaxed)
    }

    pub(super) fn set_resend(&self, bytes: u64) {
        self.resend.store(bytes, Ordering::Relaxed);
    }

    /// Whether it is half full. The other half is the reserve for batches that are in hand.
    pub fn is_above_mark(&self) -> bool {
        self.used() > self.capacity() / 2
    }

    /// Published bytes from `position` on, at most `max`.
    pub fn bytes(&self, position: u64, max: usize) -> &[u8] {
        let len = self.head().saturating_sub(position).min(max as u64) as usize;
        self.map.bytes(position, len)
    }

    /// Whether nothing is kept: the memory may be replaced.
    pub fn is_empty(&self) -> bool {
        self.tail() == self.head()
    }

    /// Goes on in another memory, which has the ring's content (none, if it is empty). Only while
    /// the gate is closed.
    ///
    /// # Errors
    /// As `open`; then nothing has changed.
    pub(super) fn replace_memory(
        &self,
        memory: BorrowedFd<'_>,
        offset: u64,
        size: u64,
    ) -> io::Result<()> {
        let size = usize::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.map.replace(memory, offset, size)
    }

    /// Who is to be woken when there is something to do for the spool.
    pub(super) fn set_wanted(&self, wanted: Arc<Notify>) {
        // Each ring has one spool for its life.
        let _already_set = self.wanted.set(wanted);
    }

    /// Asks to be woken once everything before `position` has left. False when it has already.
    pub fn wake_when_left(&self, position: u64) -> bool {
        self.refill_at.store(position, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.acked() >= position {
            self.refill_at.store(u64::MAX, Ordering::SeqCst);
            return false;
        }
        true
    }

    /// Takes the right to write.
    pub fn append(&self) -> Append<'_> {
        let ages = self.lock.lock().unwrap_or_else(|e| e.into_inner());
        let head = self.head();
        Append {
            ring: self,
            ages,
            start: head,
            head,
            lines: 0,
            turns: None,
        }
    }

    /// The destination is going to sleep on `filled` until the head has come to `position`. False
    /// when it is there already: then it isn't to sleep.
    pub fn sleep_until(&self, position: u64) -> bool {
        self.wake_at.store(position, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.head() >= position {
            self.wake_at.store(u64::MAX, Ordering::SeqCst);
            return false;
        }
        true
    }

    /// Goes on where another process has moved the positions to, and wakes everybody who waits
    /// for this ring.
    pub fn taken_over(&self) {
        let oldest = self.cell(Cell::OldestAt);
        *self.lock.lock().unwrap_or_else(|e| e.into_inner()) = Ages::new(self.acked(), oldest);
        self.wake_at.store(u64::MAX, Ordering::SeqCst);
        self.refill_at.store(u64::MAX, Ordering::SeqCst);
        self.filled.notify_one();
        self.drained.notify_waiters();
        self.wake_spool();
    }

    pub(super) fn wake_spool(&self) {
        if let Some(wanted) = self.wanted.get() {
            wanted.notify_one();
        }
    }

    /// The peer has acknowledged everything before `position` (the file has it): whole lines are
    /// counted and leave.
    pub fn acknowledge(&self, writer: &mut Writer, position: u64) {
        let (acked, head) = (self.acked(), self.head());
        let position = position.min(head);
        if position <= acked {
            return;
        }
        let fresh = self.map.bytes(acked, (position - acked) as usize);
        let Some(end) = memchr::memrchr(b'\n', fresh) else {
            return;
        };
        let lines = memchr::memchr_iter(b'\n', &fresh[..=end]).count() as u64;
        let now_acked = acked + end as u64 + 1;
        writer.add(self.counts, Count::Acknowledged, lines);
        self.leave(writer, now_acked, lines);
    }

    /// Everything before `position`, so many whole lines, is elsewhere now. Commits, with what the writer has collected.
    pub fn moved(&self, writer: &mut Writer, position: u64, lines: u64) {
        self.leave(writer, position, lines);
    }

    /// The beginning of what isn't done with, as many whole lines as fit into `max` bytes (one at least), and how many lines that is.
    pub fn oldest(&self, from: u64, max: usize) -> (&[u8], u64) {
        let all = self.bytes(from, usize::MAX);
        let end = match all.get(..max) {
            Some(near) => memchr::memrchr(b'\n', near).or_else(|| memchr::memchr(b'\n', all)),
            None => memchr::memrchr(b'\n', all),
        };
        let lines = &all[..end.map_or(0, |at| at + 1)];
        (lines, memchr::memchr_iter(b'\n', lines).count() as u64)
    }

    /// Drops everything that isn't acknowledged. Returns how many lines that were.
    pub fn discard(&self, writer: &mut Writer, reason: DropReason) -> u64 {
        let _nobody_pushes = self.lock.lock().unwrap_or_else(|e| e.into_inner());
        let lines = self.queued_lines();
        writer.add(self.counts, reason, lines);
        self.leave(writer, self.head(), lines);
        lines
    }

    /// Begins anew: the memory is new, and what the positions speak of is not in it.
    pub fn reset(&self, writer: &mut Writer) {
        let (head, lines) = (self.head(), self.queued_lines());
        writer.add(self.counts, DropReason::Removed, lines);
        for cell in [Cell::Acked, Cell::Tail, Cell::SentUpTo] {
            writer.set(self.cells, cell, head);
        }
        writer.set(self.cells, Cell::LinesOut, self.cell(Cell::LinesIn));
        for cell in Cell::RESET {
            writer.set(self.cells, cell, 0);
        }
        writer.commit();
    }

    /// Moves `acked` to `position`, and the tail behind it. Commits.
    fn leave(&self, writer: &mut Writer, position: u64, lines: u64) {
        let above = self.is_above_mark();
        writer.set(self.cells, Cell::Acked, position);
        writer.set(
            self.cells,
            Cell::LinesOut,
            self.cell(Cell::LinesOut) + lines,
        );
        writer.set(self.cells, Cell::Tail, self.tail_for(position));
        writer.commit();
        if above && !self.is_above_mark() {
            self.drained.notify_waiters();
        }
        fence(Ordering::SeqCst);
        if position >= self.refill_at.load(Ordering::SeqCst) {
            self.refill_at.store(u64::MAX, Ordering::SeqCst);
            self.wake_spool();
        }
    }

    /// Where the kept lines begin when everything before `acked` is acknowledged.
    fn tail_for(&self, acked: u64) -> u64 {
        let resend = self.resend();
        let (tail, wanted) = (self.tail(), acked.saturating_sub(resend));
        if resend == 0 {
            return acked;
        }
        if wanted <= tail {
            return tail;
        }
        // The first beginning of a line at or after `wanted`.
        let from = wanted - 1;
        let kept = self.map.bytes(from, (acked - from) as usize);
        memchr::memchr(b'\n', kept).map_or(acked, |at| from + at as u64 + 1)
    }

    /// When the oldest line that isn't done with came in (ms since 1970), about; `None` when there is none.
    pub fn oldest_at(&self) -> Option<u64> {
        let mut ages = self.lock.lock().unwrap_or_else(|e| e.into_inner());
        ages.oldest(self.acked(), self.head())
    }

    /// When the oldest line that isn't acknowledged came in (ms since 1970); `None` when there is
    /// none. Notes it in the ledger, for a successor. To be called about once a second.
    pub fn note_age(&self, writer: &mut Writer, now_ms: u64) -> Option<u64> {
        let mut ages = self.lock.lock().unwrap_or_else(|e| e.into_inner());
        let oldest = ages.oldest(self.acked(), self.head());
        ages.mark(self.head(), now_ms);
        drop(ages);
        let value = oldest.unwrap_or(0);
        if self.cell(Cell::OldestAt) != value {
            writer.set(self.cells, Cell::OldestAt, value);
            writer.commit();
        }
        oldest
    }
}

impl Append<'_> {
    /// The ring it writes to.
    pub fn ring(&self) -> &'_ Ring {
        self.ring
    }

    /// With this, the queue that has this send ring begins to spool.
    pub(super) fn turning(mut self, send: &Ring) -> Self {
        self.turns = Some(send.cells);
        self
    }

    /// Bytes that fit.
    pub fn room(&self) -> u64 {
        self.ring.size() - (self.head - self.ring.tail())
    }

    /// Copies whole lines behind the newest; the caller saw to it that they fit.
    pub fn push(&mut self, text: &[u8], lines: u64) {
        self.push_all([text], text.len(), lines);
    }

    /// The same with lines that lie in several places, so many bytes in all.
    pub fn push_all<'a>(
        &mut self,
        texts: impl IntoIterator<Item = &'a [u8]>,
        bytes: usize,
        lines: u64,
    ) {
        assert!(
            bytes as u64 <= self.room(),
            "a ring was written over its end"
        );
        self.ring.map.write(self.head, bytes, texts);
        self.head += bytes as u64;
        self.lines += lines;
    }

    /// Puts the new head into the commit.
    pub fn publish(&mut self, writer: &mut Writer, now_ms: u64) {
        if self.head == self.start {
            return;
        }
        writer.set(self.ring.cells, Cell::Head, self.head);
        writer.set(
            self.ring.cells,
            Cell::LinesIn,
            self.ring.cell(Cell::LinesIn) + self.lines,
        );
        if let Some(send) = self.turns {
            writer.set(send, Cell::Spooling, 1);
        }
        self.ages.mark(self.start, now_ms);
    }

    /// After the commit: lets go of the ring, and wakes the destination if it waits.
    pub fn finish(self) {
        let Append {
            ring,
            ages,
            head,
            turns,
            ..
        } = self;
        drop(ages);
        // Between the store of the head and the look at `wake_at`; `sleep_until` has the other half.
        fence(Ordering::SeqCst);
        if head >= ring.wake_at.load(Ordering::SeqCst)
            && ring.wake_at.swap(u64::MAX, Ordering::SeqCst) != u64::MAX
        {
            ring.filled.notify_one();
            if ring.feeds_spool {
                ring.wake_spool();
            }
        }
        if turns.is_some() {
            ring.wake_spool();
        }
    }
}
