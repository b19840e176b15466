//! Where the frames end that are on their way to a destination which is sent frames instead of lines.
//!
//! TCP acknowledges bytes of the wire, the ring lets go of bytes of text. Between the two stands a table of the frames that were begun
//! and aren't acknowledged, in the queue's memfd behind the rings:
//!
//! ```text
//!   wire   ├─ done ──┼── frame ──┼───── frame ─────┼─ frame ─┤      a frame's entry is written before its first byte is
//!   text   ├─ done ────────┼─────── frame ──────┼─ frame ─┼── …    what isn't acknowledged is still in the ring
//! ```
//!
//! Frames themselves are nowhere: what one looks like depends on its text alone, so a successor that finds itself in the middle of
//! one makes it again. How many were begun and are done are cells of the ledger, so a frame is done in the commit that moves the ring.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard};

use super::Ring;
use crate::ledger::{Cell, Count, DropReason, Writer};
use crate::sys::{self, Words};

/// Frames that may be on their way. When there are more, lines wait, and the next frames are larger.
const ENTRIES: u64 = 2048;
/// Words of an entry: both ends, counts, encoding.
const WIDTH: usize = 4;
const WORDS: usize = ENTRIES as usize * WIDTH;
/// The size of the table, a multiple of every page size.
pub const BYTES: u64 = (WORDS * 8) as u64;

/// Where a frame ends, and what is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Boundary {
    /// In bytes sent on the connection.
    pub wire: u64,
    /// In bytes of the ring.
    pub text: u64,
    /// Lines that are in it.
    pub points: u32,
    /// Lines of its text that could not be.
    pub unencodable: u32,
    /// The encoding that makes it of its text.
    pub encoding: u64,
}

/// The table.
#[derive(Debug)]
pub struct Frames {
    ring: Arc<Ring>,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    words: Words,
    /// Others can have it as well: it isn't memory of this process alone.
    is_shared: bool,
}

impl Table {
    /// The table in a queue's memfd. One that an older version has made has no room for it: then nobody can go on in the middle of a frame.
    fn map(memory: BorrowedFd<'_>, offset: u64) -> io::Result<Table> {
        let is_shared = rustix::fs::fstat(memory)?.st_size as u64 >= offset + BYTES;
        let words = match is_shared {
            true => Words::map_at(memory, offset, WORDS)?,
            false => Words::map(sys::memfd("baton-frames", BYTES)?.as_fd(), WORDS)?,
        };
        Ok(Table { words, is_shared })
    }
}

impl Frames {
    /// The table at this offset of a queue's memfd, for its send ring.
    ///
    /// # Errors
    /// What mmap(2) says.
    pub(super) fn open(ring: Arc<Ring>, memory: BorrowedFd<'_>, offset: u64) -> io::Result<Frames> {
        let table = Mutex::new(Table::map(memory, offset)?);
        Ok(Frames { ring, table })
    }

    /// Goes on in other memory. Only while no frame is on its way, or when another process has put it there.
    pub(super) fn replace(&self, memory: BorrowedFd<'_>, offset: u64) -> io::Result<()> {
        *self.table() = Table::map(memory, offset)?;
        Ok(())
    }

    /// Whether the memfd has room for it.
    pub(super) fn is_shared(&self) -> bool {
        self.table().is_shared
    }

    /// Begins with a new connection, at this position of the ring. Part of the caller's commit.
    pub fn begin(&self, writer: &mut Writer, cookie: u64, base: u64) {
        let known = if self.is_shared() { cookie } else { 0 };
        for (cell, value) in [
            (Cell::Link, 0),
            (Cell::LinkBase, base),
            (Cell::FramedLink, known),
            (Cell::FramesBegun, 0),
            (Cell::FramesDone, 0),
            (Cell::FramesDoneWire, 0),
            (Cell::FramesDoneText, base),
        ] {
            writer.set(self.ring.cells(), cell, value);
        }
    }

    /// Whether no other frame may be begun before one is acknowledged.
    pub fn is_full(&self) -> bool {
        self.on_their_way() >= ENTRIES
    }

    /// Frames that were begun and aren't acknowledged.
    pub fn on_their_way(&self) -> u64 {
        let done = self.ring.cell(Cell::FramesDone);
        self.ring.cell(Cell::FramesBegun).saturating_sub(done)
    }

    /// Where the frames end that were begun.
    pub fn end(&self) -> Boundary {
        match self.on_their_way() {
            0 => self.done(),
            _ => self.entry(self.ring.cell(Cell::FramesBegun) - 1),
        }
    }

    /// The frame that was begun last, unless it is acknowledged: where it begins, and where it ends.
    pub fn last(&self) -> Option<(Boundary, Boundary)> {
        let begun = self.ring.cell(Cell::FramesBegun);
        match self.on_their_way() {
            0 => None,
            1 => Some((self.done(), self.entry(begun - 1))),
            _ => Some((self.entry(begun - 2), self.entry(begun - 1))),
        }
    }

    /// Begins a frame, of which nothing was sent yet. Nothing may wait in the writer.
    pub fn push(&self, writer: &mut Writer, frame: Boundary) {
        assert!(!self.is_full(), "more frames than their table holds");
        let begun = self.ring.cell(Cell::FramesBegun);
        let (at, table) = (index(begun), self.table());
        let counts = u64::from(frame.points) | u64::from(frame.unencodable) << 32;
        for (word, value) in [frame.wire, frame.text, counts, frame.encoding]
            .into_iter()
            .enumerate()
        {
            table.words.store(at + word, value);
        }
        drop(table);
        // One word, stored after the entry that it makes valid.
        writer.set(self.ring.cells(), Cell::FramesBegun, begun + 1);
        writer.commit();
    }

    /// The peer has acknowledged so many bytes of the connection: what whole frames were made of leaves the ring. Nothing may wait
    /// in the writer.
    pub fn acknowledge(&self, writer: &mut Writer, wire: u64) {
        let (before, begun) = (
            self.ring.cell(Cell::FramesDone),
            self.ring.cell(Cell::FramesBegun),
        );
        let acked = self.ring.acked();
        let (mut done, mut last) = (before, self.done());
        let (mut points, mut unencodable) = (0, 0);
        while done < begun {
            let frame = self.entry(done);
            if frame.wire > wire {
                break;
            }
            // One of lines that had been acknowledged before, and are sent again, was counted then.
            if frame.text > acked {
                points += u64::from(frame.points);
                unencodable += u64::from(frame.unencodable);
            }
            (done, last) = (done + 1, frame);
        }
        if done == before {
            return;
        }
        for (cell, value) in [
            (Cell::FramesDone, done),
            (Cell::FramesDoneWire, last.wire),
            (Cell::FramesDoneText, last.text),
        ] {
            writer.set(self.ring.cells(), cell, value);
        }
        if last.text <= acked {
            writer.commit();
            return;
        }
        let counts = self.ring.counts();
        writer.add(counts, Count::Acknowledged, points);
        writer.add(counts, DropReason::Unencodable, unencodable);
        self.ring.moved(writer, last.text, points + unencodable);
    }

    fn done(&self) -> Boundary {
        Boundary {
            wire: self.ring.cell(Cell::FramesDoneWire),
            text: self.ring.cell(Cell::FramesDoneText),
            ..Boundary::default()
        }
    }

    fn entry(&self, number: u64) -> Boundary {
        let (at, table) = (index(number), self.table());
        let counts = table.words.load(at + 2);
        Boundary {
            wire: table.words.load(at),
            text: table.words.load(at + 1),
            points: counts as u32,
            unencodable: (counts >> 32) as u32,
            encoding: table.words.load(at + 3),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// The word at which an entry begins.
fn index(number: u64) -> usize {
    (number % ENTRIES) as usize * WIDTH
}

#[cfg(test)]
mod tests;
