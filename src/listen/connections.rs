//! The clients of a worker, kept outside of the tasks that read them.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use tokio::sync::Notify;

use super::connection::{Connection, Lost, State};
use super::framing::Framing;
use crate::handover::{Frozen, FrozenWriter};
use crate::ledger::{CONNECTIONS, Ledger, Offset, Slot};

/// All clients of a worker.
#[derive(Debug)]
pub struct Connections {
    table: Mutex<Table>,
    /// Those inside of a line, or with lines that wait for room: a freeze looks at these alone.
    mid_line: Slots,
    /// The partial lines of the predecessor. A connection takes its own when it is next read: not in the pause.
    inherited: OnceLock<Inherited>,
    /// Those that haven't taken theirs yet: a freeze passes it on without touching the connection.
    untaken: Slots,
    /// Woken when one has gone: accepting goes on.
    pub closed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    by_cookie: HashMap<u64, Arc<Connection>>,
    by_slot: Vec<Option<Arc<Connection>>>,
    /// The cookie of the connection in each slot; 0: the slot is free.
    cookies: Vec<u64>,
    /// The search for a free slot begins here.
    next: usize,
}

/// A set of slots. Each of its connections is in one hand when it changes, so nothing is ordered by it.
#[derive(Debug)]
struct Slots(Box<[AtomicU64]>);

impl Slots {
    fn none() -> Slots {
        Slots((0..CONNECTIONS / 64).map(|_| AtomicU64::new(0)).collect())
    }

    fn place(&self, slot: u32) -> (&AtomicU64, u64) {
        (&self.0[slot as usize / 64], 1 << (slot % 64))
    }

    fn insert(&self, slot: u32) {
        let (word, bit) = self.place(slot);
        word.fetch_or(bit, Ordering::Relaxed);
    }

    fn remove(&self, slot: u32) {
        let (word, bit) = self.place(slot);
        word.fetch_and(!bit, Ordering::Relaxed);
    }

    fn contains(&self, slot: u32) -> bool {
        let (word, bit) = self.place(slot);
        word.load(Ordering::Relaxed) & bit != 0
    }

    /// Replaces the first ones by those of these words.
    fn set_first(&self, words: &[u64]) {
        for (word, value) in self.0.iter().zip(words) {
            word.store(*value, Ordering::Relaxed);
        }
    }

    /// Those below `end` (rounded up), in order.
    fn below(&self, end: usize) -> impl Iterator<Item = u32> {
        let words = self.0.iter().take(end.div_ceil(64)).zip(0u32..);
        words.flat_map(|(word, at)| {
            let mut bits = word.load(Ordering::Relaxed);
            std::iter::from_fn(move || {
                let bit = (bits != 0).then(|| bits.trailing_zeros())?;
                bits &= bits - 1;
                Some(at * 64 + bit)
            })
        })
    }
}

/// Taken by someone who is about to insert a connection.
const TAKEN: u64 = u64::MAX;

impl Table {
    fn set(&mut self, slot: Slot, cookie: u64, connection: Option<Arc<Connection>>) {
        let at = slot.number() as usize;
        if self.cookies.len() <= at {
            self.cookies.resize(at + 1, 0);
            self.by_slot.resize(at + 1, None);
        }
        self.cookies[at] = cookie;
        self.by_slot[at] = connection;
    }

    /// Cookies by slot, up to the last that is used.
    fn used(&self) -> &[u64] {
        let end = self.cookies.iter().rposition(|cookie| *cookie != 0);
        &self.cookies[..end.map_or(0, |end| end + 1)]
    }
}

/// A predecessor's partial lines, as they came.
#[derive(Debug)]
struct Inherited {
    bytes: Vec<u8>,
    /// By slot.
    portions: Vec<Portion>,
}

/// What one connection inherits: nothing, unless its slot is among the `untaken`.
#[derive(Clone, Copy, Debug, Default)]
struct Portion {
    /// How far the stream was accounted for when the predecessor stopped.
    offset: Offset,
    discarding: bool,
    placed: u32,
    start: usize,
    len: usize,
}

impl Inherited {
    fn of(&self, slot: u32) -> (Portion, &[u8]) {
        let portion = self.portions.get(slot as usize).copied();
        let portion = portion.unwrap_or_default();
        (portion, &self.bytes[portion.start..][..portion.len])
    }
}

impl Default for Connections {
    fn default() -> Connections {
        Connections {
            table: Mutex::default(),
            mid_line: Slots::none(),
            inherited: OnceLock::new(),
            untaken: Slots::none(),
            closed: Notify::new(),
        }
    }
}

impl Connections {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Where a connection is in its stream.
    pub fn state<'a>(&self, connection: &'a Connection) -> MutexGuard<'a, State> {
        let mut state = connection.lock();
        let slot = connection.slot.number();
        if self.untaken.contains(slot)
            && let Some(inherited) = self.inherited.get()
        {
            self.untaken.remove(slot);
            let (portion, bytes) = inherited.of(slot);
            let whole = connection.protocol.whole(bytes);
            let (waiting, carry) = bytes.split_at(whole);
            state.framing =
                Framing::restore(connection.protocol, carry.to_vec(), portion.discarding);
            state.waiting = waiting.to_vec();
            state.placed = (portion.placed as usize).min(whole);
            state.marked = true;
            connection.continue_from(&mut state, portion.offset);
        }
        state
    }

    /// Notes whether a connection is inside of a line now. To be called with its state whenever that
    /// may have changed.
    pub fn mark(&self, connection: &Connection, state: &mut State) {
        let mid_line = !state.framing.carry().is_empty()
            || state.framing.is_discarding()
            || !state.waiting.is_empty();
        if mid_line != state.marked {
            state.marked = mid_line;
            let slot = connection.slot.number();
            if mid_line {
                self.mid_line.insert(slot);
            } else {
                self.mid_line.remove(slot);
            }
        }
    }

    /// Those that inherit whole lines or pickles, and haven't taken them yet.
    pub fn inherit_waiting(&self) -> Vec<Arc<Connection>> {
        let (Some(inherited), table) = (self.inherited.get(), self.table()) else {
            return Vec::new();
        };
        let untaken = self.untaken.below(table.by_slot.len());
        let connections = untaken.filter_map(|slot| {
            let connection = table.by_slot.get(slot as usize)?.as_ref()?;
            let (_, bytes) = inherited.of(slot);
            (connection.protocol.whole(bytes) > 0).then(|| connection.clone())
        });
        connections.collect()
    }

    /// A slot for a new connection, which `insert` or `give_slot` must follow.
    pub fn take_slot(&self) -> Option<Slot> {
        let mut table = self.table();
        let from = table.next.min(table.cookies.len());
        let free = table.cookies[from..]
            .iter()
            .position(|cookie| *cookie == 0)
            .map(|at| from + at);
        let at = free
            .or_else(|| table.cookies[..from].iter().position(|cookie| *cookie == 0))
            .unwrap_or(table.cookies.len());
        let slot = Slot::from_number(u32::try_from(at).ok()?)?;
        table.next = at + 1;
        table.set(slot, TAKEN, None);
        Some(slot)
    }

    /// Gives a slot back that came to nothing.
    pub fn give_slot(&self, slot: Slot) {
        self.table().set(slot, 0, None);
    }

    /// Adds one.
    pub fn insert(&self, connection: Arc<Connection>) {
        let mut table = self.table();
        table.set(connection.slot, connection.cookie, Some(connection.clone()));
        table.by_cookie.insert(connection.cookie, connection);
    }

    /// Removes one, and frees its slot.
    pub fn remove(&self, cookie: u64) -> Option<Arc<Connection>> {
        let mut table = self.table();
        let gone = table.by_cookie.remove(&cookie)?;
        // Another connection may have the slot by now.
        if table.cookies.get(gone.slot.number() as usize) == Some(&cookie) {
            table.set(gone.slot, 0, None);
            self.mid_line.remove(gone.slot.number());
            self.untaken.remove(gone.slot.number());
        }
        drop(table);
        self.closed.notify_waiters();
        Some(gone)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.table().by_cookie.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Connection>> {
        self.table().by_cookie.values().cloned().collect()
    }

    /// Writes, for a successor, which there are, and the partial lines of those that have one.
    pub fn freeze(&self) -> FrozenWriter {
        let table = self.table();
        let used = table.used();
        let mut frozen = FrozenWriter::new(used);
        for slot in self.mid_line.below(used.len()) {
            // Not read in this worker's life: what it would have inherited goes on as it came.
            if self.untaken.contains(slot)
                && let Some(inherited) = self.inherited.get()
            {
                let (portion, bytes) = inherited.of(slot);
                frozen.partial((slot, portion.discarding, portion.placed), bytes, &[]);
            } else if let Some(Some(connection)) = table.by_slot.get(slot as usize) {
                let state = connection.lock();
                let (carry, discarding) = (state.framing.carry(), state.framing.is_discarding());
                let head = (slot, discarding, state.placed as u32);
                frozen.partial(head, &state.waiting, carry);
            }
        }
        frozen
    }

    /// Goes on where a predecessor was. `state` is what it sent.
    ///
    /// # Errors
    /// `InvalidData` when it isn't understood, or the connections that it held aren't exactly those
    /// that are here. Returns the links it held.
    pub fn inherit(&self, state: Vec<u8>, ledger: &Ledger) -> io::Result<Vec<u64>> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let Frozen {
            slots,
            links,
            partials,
        } = Frozen::decode(&state)?;
        let table = self.table();
        if table.used() != slots {
            let same = table
                .used()
                .iter()
                .zip(&slots)
                .filter(|(a, b)| a == b && **a != 0)
                .count();
            let held = slots.iter().filter(|cookie| **cookie != 0).count();
            return Err(invalid(format!(
                "the old worker holds {held} connections, I was passed {}, and {same} are the same",
                table.by_cookie.len(),
            )));
        }
        let mut portions = vec![Portion::default(); slots.len()];
        let mut marks = vec![0; slots.len().div_ceil(64)];
        for partial in partials {
            let partial = partial?;
            let place = portions.get_mut(partial.slot as usize);
            let slot = Slot::from_number(partial.slot);
            let (Some(place), Some(slot)) = (place, slot) else {
                return Err(invalid("a partial line of nobody".into()));
            };
            *place = Portion {
                offset: ledger.stream(slot).1,
                discarding: partial.discarding,
                placed: partial.placed,
                start: partial.bytes.as_ptr().addr() - state.as_ptr().addr(),
                len: partial.bytes.len(),
            };
            marks[partial.slot as usize / 64] |= 1 << (partial.slot % 64);
        }
        self.mid_line.set_first(&marks);
        self.untaken.set_first(&marks);
        let inherited = Inherited {
            bytes: state,
            portions,
        };
        self.inherited
            .set(inherited)
            .map_err(|_| invalid("inherited twice".into()))?;
        Ok(links)
    }

    /// Goes on with a connection after a crash, or after a successor that failed.
    pub fn recover(
        &self,
        connection: &Connection,
        ledger: &Ledger,
        mine: bool,
    ) -> io::Result<Lost> {
        let mut state = self.state(connection);
        let lost = connection.recover(&mut state, ledger, mine)?;
        self.mark(connection, &mut state);
        Ok(lost)
    }
}

#[cfg(test)]
mod tests;
