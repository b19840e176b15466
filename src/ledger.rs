//! The ledger: every counter and position of the relay, in memory that outlives the worker.
//!
//! A memfd, made and kept by the supervisor and mapped by the worker, is an array of 64-bit words:
//!
//! | part | what | written by |
//! |---|---|---|
//! | header | magic, layout | the first worker |
//! | records | one commit record a lane | that lane |
//! | directory | names of objects (listeners, routes, destinations …) | who meets a new name |
//! | connections | per connection: its cookie, and how far its stream is accounted for | the lane that reads it |
//! | counters | per lane and object 32 counters | that lane |
//! | cells | per object 32 words with one value (ring positions) | who holds the object's lock |
//!
//! **A change is all or nothing, at `kill -9` too.** What belongs together (lines queued, their counters, the
//! stream offset they came from) is collected by a [`Writer`] and committed: the new values go to the lane's record,
//! one store makes the record valid, the values are stored to their places, one store ends it. After a crash
//! [`Ledger::recover`] finishes what was valid. Stores of a killed process are seen by others in its
//! program order, so nothing else is needed; and since every word has one writer at a time,
//! finishing twice does no harm.
//!
//! So the books balance whatever is killed when, and totals never go back.

mod names;
mod writer;

use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Mutex;

use crate::sys::Words;

pub use names::{Cell, Count, DropReason, Kind};
pub use writer::Writer;

/// Threads that may write counters: more share a lane by its lock.
pub const LANES: usize = 16;
/// Client connections that can be accounted for at one time.
pub const CONNECTIONS: usize = 1 << 18;
/// Words an object has, in each lane and in the cells.
const WIDTH: usize = 32;
/// Objects: listeners, routes, destinations, rules.
const OBJECTS: usize = 1 << 17;
/// Entries of a commit record.
const RECORD_ENTRIES: usize = (1 << 16) - 1;

const MAGIC: u64 = u64::from_be_bytes(*b"BatonLgr");
const LAYOUT: u64 = 2;

const RECORD_WORDS: usize = 2 * (RECORD_ENTRIES + 1);
const NAME_WORDS: usize = 16;
const RECORDS: usize = 64;
const DIRECTORY: usize = RECORDS + LANES * RECORD_WORDS;
const STREAMS: usize = DIRECTORY + OBJECTS * NAME_WORDS;
const COUNTERS: usize = STREAMS + 2 * CONNECTIONS;
const CELLS: usize = COUNTERS + LANES * OBJECTS * WIDTH;
const WORDS: usize = CELLS + OBJECTS * WIDTH;

/// The size of the memfd in bytes; only touched pages cost memory.
pub const BYTES: u64 = (WORDS * 8) as u64;

/// A named group of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object(u32);

/// The place of a connection in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(u32);

impl Slot {
    /// The slot's number, as it travels between processes.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The slot of a number that came from another process; `None` when out of range.
    pub fn from_number(number: u32) -> Option<Slot> {
        ((number as usize) < CONNECTIONS).then_some(Slot(number))
    }
}

/// How far a connection's stream is accounted for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    /// Bytes from the stream's beginning that were queued, rejected or discarded.
    pub bytes: u64,
    /// The stream is inside a line that is being discarded.
    pub discarding: bool,
    /// Unix streams only, whose bytes the kernel doesn't count: bytes were being read. There
    /// `bytes` is the length of the partial line instead.
    pub receiving: bool,
    /// What is being discarded is the rest of a line that a killed worker had begun to read: it counts as lost.
    pub cut: bool,
    /// It is a stream of pickles, not of lines. That stands here since who takes a connection over is told its address
    /// only, and of that the config may say something else by now.
    pub pickle: bool,
}

impl Offset {
    const DISCARDING: u64 = 1 << 63;
    const RECEIVING: u64 = 1 << 62;
    const CUT: u64 = 1 << 61;
    const PICKLE: u64 = 1 << 60;

    fn word(self) -> u64 {
        self.bytes
            | if self.discarding { Self::DISCARDING } else { 0 }
            | if self.receiving { Self::RECEIVING } else { 0 }
            | if self.cut { Self::CUT } else { 0 }
            | if self.pickle { Self::PICKLE } else { 0 }
    }

    fn from_word(word: u64) -> Offset {
        Offset {
            bytes: word & !(Self::DISCARDING | Self::RECEIVING | Self::CUT | Self::PICKLE),
            discarding: word & Self::DISCARDING != 0,
            receiving: word & Self::RECEIVING != 0,
            cut: word & Self::CUT != 0,
            pickle: word & Self::PICKLE != 0,
        }
    }
}

/// A mapped ledger.
#[derive(Debug)]
pub struct Ledger {
    words: Words,
    directory: Mutex<Directory>,
}

#[derive(Debug, Default)]
struct Directory {
    known: HashMap<(Kind, Vec<u8>), Object>,
    /// Where the search for a free entry begins.
    next: usize,
}

impl Ledger {
    /// Maps a ledger, and makes a fresh one of a memfd of zeros.
    ///
    /// # Errors
    /// `InvalidData` when it has another layout; what mmap(2) says.
    pub fn open(fd: BorrowedFd<'_>) -> io::Result<Ledger> {
        let words = Words::map(fd, WORDS)?;
        if words.load(0) == 0 {
            words.store(1, LAYOUT);
            words.store(0, MAGIC);
        }
        if (words.load(0), words.load(1)) != (MAGIC, LAYOUT) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "the ledger has layout {}, this version speaks {LAYOUT}",
                    words.load(1)
                ),
            ));
        }
        let ledger = Ledger {
            words,
            directory: Mutex::default(),
        };
        ledger.learn_names();
        Ok(ledger)
    }

    /// Learns the names that other processes have met.
    fn learn_names(&self) {
        let mut directory = self.directory.lock().unwrap_or_else(|e| e.into_inner());
        for index in 0..OBJECTS {
            if let Some(key) = entry(&self.words, index) {
                let object = Object(index as u32);
                directory.known.entry(key).or_insert(object);
            }
        }
    }

    /// Finishes the commits that a killed worker had begun, and learns the names it had met. Returns how many commits
    /// there were.
    ///
    /// To be called when no other process writes, before any position is read.
    pub fn recover(&self) -> usize {
        self.learn_names();
        let mut finished = 0;
        for lane in 0..LANES {
            let record = record(lane);
            let entries = self.words.load(record) as usize;
            if entries == 0 {
                continue;
            }
            for entry in 0..entries.min(RECORD_ENTRIES) {
                let at = record + 2 * (entry + 1);
                let word = self.words.load(at) as usize;
                if (DIRECTORY..WORDS).contains(&word) {
                    self.words.store(word, self.words.load(at + 1));
                }
            }
            self.words.store(record, 0);
            finished += 1;
        }
        finished
    }

    /// The object of that kind and name; it begins with zeros when the name is new.
    ///
    /// # Errors
    /// `OutOfMemory` when the directory is full.
    pub fn object(&self, kind: Kind, name: &str) -> io::Result<Object> {
        let key = (kind, stored_name(name));
        let mut directory = self.directory.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(object) = directory.known.get(&key) {
            return Ok(*object);
        }
        for step in 0..OBJECTS {
            let index = (directory.next + step) % OBJECTS;
            if self.words.load(DIRECTORY + index * NAME_WORDS) == 0 {
                self.write_entry(index, kind, &key.1);
            }
            // What is there already are names that a successor has met, which failed. Perhaps this one.
            if let Some(name) = entry(&self.words, index) {
                let object = Object(index as u32);
                directory.known.entry(name).or_insert(object);
            }
            if let Some(object) = directory.known.get(&key).copied() {
                directory.next = index + 1;
                return Ok(object);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::OutOfMemory,
            format!("over {OBJECTS} listeners, routes, destinations and rules"),
        ))
    }

    /// All objects of a kind, those that no config has any more included.
    pub fn objects(&self, kind: Kind) -> Vec<Object> {
        let directory = self.directory.lock().unwrap_or_else(|e| e.into_inner());
        let known = directory.known.iter();
        known
            .filter(|((of, _), _)| *of == kind)
            .map(|(_, object)| *object)
            .collect()
    }

    /// Forgets objects that `keep` refuses, with their counts, once the directory is more than
    /// half full: names that came and went must not fill it for ever.
    pub fn reclaim(&self, keep: impl Fn(Object) -> bool) {
        let mut directory = self.directory.lock().unwrap_or_else(|e| e.into_inner());
        if directory.known.len() <= OBJECTS / 2 {
            return;
        }
        directory.known.retain(|_, object| {
            if keep(*object) {
                return true;
            }
            let index = object.0 as usize;
            for word in 0..WIDTH {
                for lane in 0..LANES {
                    self.words.store(counter(lane, *object, word), 0);
                }
                self.words.store(CELLS + index * WIDTH + word, 0);
            }
            self.words.store(DIRECTORY + index * NAME_WORDS, 0);
            false
        });
        // A successor takes the first free entry, too: the search passes what it took.
        directory.next = 0;
    }

    /// A counter's total over all lanes.
    pub fn total(&self, object: Object, count: impl Into<Count>) -> u64 {
        let word = count.into().word();
        (0..LANES)
            .map(|lane| self.words.load(counter(lane, object, word)))
            .sum()
    }

    /// The value of a cell.
    #[inline]
    pub fn cell(&self, object: Object, cell: Cell) -> u64 {
        self.words
            .load(CELLS + object.0 as usize * WIDTH + cell as usize)
    }

    /// The cookie of the connection that has this slot, and how far its stream is accounted for.
    pub fn stream(&self, slot: Slot) -> (u64, Offset) {
        let at = STREAMS + 2 * slot.0 as usize;
        (
            self.words.load(at),
            Offset::from_word(self.words.load(at + 1)),
        )
    }

    fn write_entry(&self, index: usize, kind: Kind, name: &[u8]) {
        let at = DIRECTORY + index * NAME_WORDS;
        for (i, chunk) in name.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.words.store(at + 1 + i, u64::from_le_bytes(word));
        }
        // Last, since it makes the entry valid.
        self.words
            .store(at, ((kind as u64) << 32) | name.len() as u64);
    }
}

/// A name as the directory holds it: a long one keeps its beginning, and a hash of all of it.
fn stored_name(name: &str) -> Vec<u8> {
    const ROOM: usize = (NAME_WORDS - 1) * 8;
    if !name.is_empty() && name.len() <= ROOM {
        return name.as_bytes().to_vec();
    }
    // FNV-1a, 64 bits (draft-eastlake-fnv).
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut stored = name.as_bytes()[..name.len().min(ROOM - 17)].to_vec();
    stored.extend(format!("#{hash:016x}").bytes());
    stored
}

fn entry(words: &Words, index: usize) -> Option<(Kind, Vec<u8>)> {
    let at = DIRECTORY + index * NAME_WORDS;
    let head = words.load(at);
    let kind = Kind::from_number(head >> 32)?;
    let len = (head & 0xffff_ffff) as usize;
    let mut name: Vec<u8> = (1..NAME_WORDS)
        .flat_map(|i| words.load(at + i).to_le_bytes())
        .collect();
    name.truncate(len);
    Some((kind, name))
}

fn record(lane: usize) -> usize {
    RECORDS + lane * RECORD_WORDS
}

#[inline]
fn counter(lane: usize, object: Object, word: usize) -> usize {
    COUNTERS + (lane * OBJECTS + object.0 as usize) * WIDTH + word
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::sync::Arc;

    use super::*;
    use crate::sys::memfd;

    #[test]
    fn totals_and_cells_are_there_for_the_next_who_maps_it() {
        let fd = memfd("ledger", BYTES).unwrap();
        let ledger = Arc::new(Ledger::open(fd.as_fd()).unwrap());
        let long = "x".repeat(500);
        for name in ["", "a", &long] {
            let object = ledger.object(Kind::Destination, name).unwrap();
            let queue = ledger.object(Kind::Queue, name).unwrap();
            assert_ne!(object, queue);
            for lane in 0..2 {
                let mut writer = Writer::new(ledger.clone(), lane);
                writer.add(object, Count::Given, 5);
                writer.set(queue, Cell::Head, 99);
                writer.commit();
            }
        }
        let next = Ledger::open(fd.as_fd()).unwrap();
        for name in ["", "a", &long] {
            let object = next.object(Kind::Destination, name).unwrap();
            assert_eq!(object, ledger.object(Kind::Destination, name).unwrap());
            assert_eq!(next.total(object, Count::Given), 10);
            assert_eq!(
                next.cell(next.object(Kind::Queue, name).unwrap(), Cell::Head),
                99
            );
        }
    }

    #[test]
    fn names_that_a_successor_has_met_are_found_when_it_fails() {
        let fd = memfd("ledger", BYTES).unwrap();
        let old = Ledger::open(fd.as_fd()).unwrap();
        old.object(Kind::Listener, "a").unwrap();
        let new = Ledger::open(fd.as_fd()).unwrap();
        let met = ["b", "c", "d"].map(|name| new.object(Kind::Listener, name).unwrap());
        let [b, c, d] = met;
        // In whatever order, and those that nobody asks for.
        assert_eq!(old.object(Kind::Listener, "c").unwrap(), c);
        assert_eq!(old.object(Kind::Listener, "b").unwrap(), b);
        assert!(!old.objects(Kind::Listener).contains(&d));
        old.recover();
        assert!(old.objects(Kind::Listener).contains(&d));
        assert_eq!(old.objects(Kind::Listener).len(), 4);
        let route = old.object(Kind::Route, "b").unwrap();
        assert!(!met.contains(&route));
    }

    #[test]
    fn a_commit_cut_by_a_kill_is_finished_or_never_was() {
        let fd = memfd("ledger", BYTES).unwrap();
        let ledger = Arc::new(Ledger::open(fd.as_fd()).unwrap());
        let object = ledger.object(Kind::Destination, "d").unwrap();
        let mut writer = Writer::new(ledger.clone(), 3);
        writer.add(object, Count::Given, 7);
        writer.set(object, Cell::Head, 70);
        writer.write_record();
        // Killed before the record was valid: nothing happened.
        assert_eq!(ledger.recover(), 0);
        assert_eq!(ledger.total(object, Count::Given), 0);
        // Killed right after: all of it happened, once.
        writer.make_valid();
        let next = Ledger::open(fd.as_fd()).unwrap();
        assert_eq!((next.recover(), next.recover()), (1, 0));
        assert_eq!(
            (
                next.total(object, Count::Given),
                next.cell(object, Cell::Head)
            ),
            (7, 70)
        );
    }

    #[test]
    fn a_foreign_layout_is_refused() {
        let fd = memfd("ledger", BYTES).unwrap();
        drop(Ledger::open(fd.as_fd()).unwrap());
        Words::map(fd.as_fd(), 2).unwrap().store(1, LAYOUT + 1);
        assert!(Ledger::open(fd.as_fd()).is_err());
    }
}
