//! The queue of a destination: two [rings](Ring) of whole lines in one memfd, and behind them the table of [frames](Frames) that are
//! on their way.
//!
//! The **send** ring is the send queue, the re-send buffer after a lost connection, and what a successor takes over, all in one:
//! bytes stay where they are until TCP has acknowledged them. While the destination is down or slow, new lines go to the
//! **intake** ring instead; the [spool](crate::spool) empties that into the database, and fills the send ring from there.
//! Which of the two takes new lines is a word of the ledger, `Spooling`, that changes in the commit of the batch that turns it:
//! so lines keep their order, and a successor knows where it is.
//!
//! ```text
//!   new lines ──► send ──────────────► the wire        not spooling
//!
//!   new lines ──► intake ──► spool ──► send ──► …      spooling; without a spool between, when that is empty
//! ```

mod age;
mod frames;
mod ring;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::ledger::{Cell, DropReason, Kind, Ledger, Object, Writer};

pub use age::Ages;
pub use frames::{Boundary, Frames};
pub use ring::{Append, Ring};

/// What a queue does with lines it has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// They go to the spool.
    Spool,
    /// Their senders wait.
    Block,
    /// They are dropped and counted.
    Drop,
}

/// How a queue is configured.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// What happens to lines it has no room for.
    pub when_full: WhenFull,
    /// Bytes that are kept after they were acknowledged.
    pub resend: u64,
    /// New lines pass those of the spool while the send ring has room.
    pub live_first: bool,
}

const LIVE_FIRST: u8 = 4;

impl Policy {
    fn bits(self) -> u8 {
        let when_full = match self.when_full {
            WhenFull::Spool => 0,
            WhenFull::Block => 1,
            WhenFull::Drop => 2,
        };
        when_full | if self.live_first { LIVE_FIRST } else { 0 }
    }
}

/// A destination's queue.
#[derive(Debug)]
pub struct Queue {
    /// To the wire.
    pub send: Arc<Ring>,
    /// To the spool.
    pub intake: Arc<Ring>,
    /// What of `send` is on its way, if that is sent in frames.
    pub frames: Frames,
    /// As bits: `when_full` in the lower two, `live_first` above.
    policy: AtomicU8,
    memory: Mutex<Arc<OwnedFd>>,
    /// The spool is full or broken, and its policy is to drop what is new.
    dropping: AtomicBool,
    /// Its destination takes lines: those that are new may pass those of the spool.
    live: AtomicBool,
}

/// The memory that a queue needs whose rings have this size.
pub fn memory_for(size: u64) -> u64 {
    2 * size + frames::BYTES
}

impl Queue {
    /// A queue over a memfd of [`memory_for`] `size` bytes; its positions are those in the ledger under the destination's `id`.
    ///
    /// # Errors
    /// When the memfd doesn't fit `size` or the ledger is full.
    pub fn open(
        ledger: &Arc<Ledger>,
        id: &str,
        memory: OwnedFd,
        size: u64,
        policy: Policy,
    ) -> io::Result<Queue> {
        let ring = |kind, offset, resend| {
            Ring::open(
                ledger.clone(),
                (kind, id),
                memory.as_fd(),
                offset,
                size,
                resend,
            )
        };
        let send = Arc::new(ring(Kind::Queue, 0, policy.resend)?);
        Ok(Queue {
            frames: Frames::open(send.clone(), memory.as_fd(), 2 * size)?,
            send,
            intake: Arc::new(ring(Kind::Intake, size, 0)?),
            policy: AtomicU8::new(policy.bits()),
            memory: Mutex::new(Arc::new(memory)),
            dropping: AtomicBool::new(false),
            live: AtomicBool::new(false),
        })
    }

    /// The destination's counters in the ledger.
    pub fn counts(&self) -> Object {
        self.send.counts()
    }

    /// The ring that this right is for.
    pub fn ring_of(&self, append: &Append<'_>) -> &Arc<Ring> {
        match std::ptr::eq(append.ring(), &*self.send) {
            true => &self.send,
            false => &self.intake,
        }
    }

    /// How it is configured.
    pub fn policy(&self) -> Policy {
        let bits = self.policy.load(Ordering::Relaxed);
        Policy {
            when_full: match bits & 3 {
                0 => WhenFull::Spool,
                1 => WhenFull::Block,
                _ => WhenFull::Drop,
            },
            resend: self.send.resend(),
            live_first: bits & LIVE_FIRST != 0,
        }
    }

    /// From the next batch on it is configured so.
    pub fn set_policy(&self, policy: Policy) {
        self.send.set_resend(policy.resend);
        self.policy.store(policy.bits(), Ordering::Relaxed);
    }

    /// The size of each of its rings.
    pub fn size(&self) -> u64 {
        self.send.size()
    }

    /// Whether new lines go to the intake ring.
    pub fn is_spooling(&self) -> bool {
        self.send.cell(Cell::Spooling) != 0
    }

    /// Whether nothing is kept in memory: that may be replaced. Of a connection that is no more, frames mean nothing.
    pub fn is_empty(&self, is_connected: bool) -> bool {
        let frames = if is_connected {
            self.frames.on_their_way()
        } else {
            0
        };
        self.send.is_empty() && self.intake.is_empty() && frames == 0
    }

    /// Whether its memory has all parts: that which an older version has made lacks some.
    pub fn is_complete(&self) -> bool {
        self.frames.is_shared()
    }

    /// The cookie of the connection that it is sent on; of a file something else.
    pub fn linked(&self) -> u64 {
        match self.send.cell(Cell::FramedLink) {
            0 => self.send.cell(Cell::Link),
            framed => framed,
        }
    }

    /// The memfd.
    pub fn memory(&self) -> Arc<OwnedFd> {
        let memory = self.memory.lock().unwrap_or_else(|e| e.into_inner());
        memory.clone()
    }

    /// Goes on in another memfd, which has the rings' content (none, if they are empty). Only while
    /// the gate is closed.
    ///
    /// # Errors
    /// As `open`; then nothing has changed that matters.
    pub fn replace_memory(&self, memory: OwnedFd, size: u64) -> io::Result<()> {
        self.send.replace_memory(memory.as_fd(), 0, size)?;
        self.intake.replace_memory(memory.as_fd(), size, size)?;
        self.frames.replace(memory.as_fd(), 2 * size)?;
        *self.memory.lock().unwrap_or_else(|e| e.into_inner()) = Arc::new(memory);
        Ok(())
    }

    /// Begins anew: the memory is new, and what the positions speak of is not in it. There may be older lines in the spool:
    /// until that has looked, new ones wait before it.
    pub fn reset(&self, writer: &mut Writer) {
        self.send.reset(writer);
        self.intake.reset(writer);
        writer.set(self.send.cells(), Cell::Spooling, 1);
        writer.commit();
    }

    /// Drops everything that isn't acknowledged. Returns how many lines that were.
    pub fn discard(&self, writer: &mut Writer, reason: DropReason) -> u64 {
        self.send.discard(writer, reason) + self.intake.discard(writer, reason)
    }

    /// Goes on where another process has moved the positions to.
    pub fn taken_over(&self) {
        self.send.taken_over();
        self.intake.taken_over();
    }

    /// Whom to wake when there is something to do for the spool.
    pub fn attach_spool(&self, wanted: &Arc<Notify>) {
        self.send.set_wanted(wanted.clone());
        self.intake.set_wanted(wanted.clone());
    }

    /// Something has changed that the spool should look at.
    pub fn wake_spool(&self) {
        self.send.wake_spool();
    }

    /// Whether its destination takes lines.
    pub fn set_live(&self, live: bool) {
        self.live.store(live, Ordering::Relaxed);
    }

    /// Whether lines that find no room are dropped now, whatever the policy says while all is well.
    pub fn set_dropping(&self, dropping: bool) {
        self.dropping.store(dropping, Ordering::Relaxed);
    }

    /// The most that the send ring holds of lines that didn't come from the spool, so that a slow destination is seen in time.
    fn high_mark(&self) -> u64 {
        self.send.capacity() / 4 * 3
    }

    /// Whether new lines pass those of the spool.
    fn passes(&self) -> bool {
        self.policy().live_first && self.live.load(Ordering::Relaxed)
    }

    /// Takes the right to write so many bytes, to the ring whose turn it is.
    pub fn append(&self, bytes: u64) -> Append<'_> {
        let send = self.send.append();
        let spooling = self.is_spooling();
        let fits = || self.send.used() + bytes <= self.high_mark() && bytes <= send.room();
        let turns = match (spooling, self.policy().when_full) {
            (false, WhenFull::Spool) if !fits() => true,
            (false, _) => return send,
            (true, _) if self.passes() && fits() => return send,
            (true, _) => false,
        };
        // Taken before the other is let go of: nobody turns the queue back between the two.
        let intake = self.intake.append();
        if turns {
            intake.turning(&self.send)
        } else {
            intake
        }
    }

    /// Why lines that find no room are dropped instead of making their sender wait; `None`: they aren't.
    pub fn drops(&self) -> Option<DropReason> {
        match self.policy().when_full {
            WhenFull::Drop => Some(DropReason::Full),
            _ if self.dropping.load(Ordering::Relaxed) => Some(DropReason::SpoolFull),
            _ => None,
        }
    }

    /// The ring for which senders whose lines come here should wait.
    pub fn holds_senders(&self) -> Option<&Arc<Ring>> {
        if self.drops().is_some() {
            return None;
        }
        let ring = match (self.is_spooling(), self.policy().when_full) {
            (true, _) => &self.intake,
            (false, WhenFull::Block) => &self.send,
            (false, _) => return None,
        };
        ring.is_above_mark().then_some(ring)
    }

    /// When the oldest line in memory that isn't acknowledged came in (ms since 1970); noted in the ledger too. To be
    /// called about once a second.
    pub fn note_age(&self, writer: &mut Writer, now_ms: u64) -> Option<u64> {
        let intake = self.intake.note_age(writer, now_ms);
        self.send.note_age(writer, now_ms).or(intake)
    }

    /// Lines in memory that aren't acknowledged, nor in the spool.
    pub fn queued_lines(&self) -> u64 {
        self.send.queued_lines() + self.intake.queued_lines()
    }

    /// Lines in the spool that aren't in the send ring.
    pub fn spooled_lines(&self) -> u64 {
        let out = self.intake.cell(Cell::SpooledOut);
        self.intake.cell(Cell::SpooledIn).saturating_sub(out)
    }

    /// Whether the spool has lines of it, those included that are in the send ring or have just left it.
    pub fn has_rows(&self) -> bool {
        self.spooled_lines() > 0 || self.send.cell(Cell::Cursor) != 0
    }

    /// The same in bytes.
    pub fn queued_bytes(&self) -> u64 {
        self.send.used() + self.intake.used()
    }
}

#[cfg(test)]
mod tests;
