//! The clients of a worker, kept outside of the tasks that read them.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use tokio::sync::Notify;

use crate::decode::split::Splitter;
use crate::handover::{Frozen, FrozenWriter};
use crate::ledger::{CONNECTIONS, Ledger, Object, Offset, Slot};
use crate::sys::{self, Watched};

/// Of which family a stream is: that decides what the kernel can tell of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The kernel counts the bytes received.
    Tcp,
    /// It doesn't.
    Unix,
}

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    /// SO_COOKIE.
    pub cookie: u64,
    /// Its place in the ledger.
    pub slot: Slot,
    /// Of which family it is.
    pub kind: Kind,
    /// The address it came in on.
    pub listener: String,
    /// That listener's counters.
    pub object: Object,
    /// Who it is, for people.
    pub peer: String,
    /// The socket.
    pub socket: Watched,
    state: Mutex<State>,
}

/// Where a connection is in its stream. Its lock is held by who reads it, inside of a lane.
#[derive(Debug, Default)]
pub struct State {
    /// The line that hasn't ended yet.
    pub splitter: Splitter,
    /// Whole lines that were read and found no room in a blocking ring.
    pub waiting: Vec<u8>,
    /// TCP: bytes read since the stream began. Unix, where nobody knows that: how often it was read.
    /// `None` until the first read here, when it is what the ledger says and what is kept.
    pub received: Option<u64>,
    /// The table, by its address, and the blocking rings in it that the last batch went to.
    pub goes_to: (usize, Vec<usize>),
    /// Something was read: larger reads are worth it.
    pub warm: bool,
    /// It is marked as being inside of a line.
    pub marked: bool,
    /// It hasn't looked yet whether a predecessor left it a partial line.
    pub heir: bool,
    /// What is being discarded is the rest of a line that a killed worker had begun to read.
    pub cut: bool,
    /// It is closed: who still holds it has nothing to read.
    pub ended: bool,
    /// It was told what the first rejected line looks like.
    pub noted: bool,
}

/// Of a unix stream's offset: the bytes that are kept …
const KEPT: u64 = 0xffff_ffff;
/// … and above them how often it was read, as far as there is room below the flags.
const READS: u64 = 0x0fff_ffff;

/// What a crash cost a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Nothing.
    Nothing,
    /// Bytes that were read and not queued; the rest of the line they end in will be discarded.
    Bytes(u64),
}

impl Connection {
    /// A connection at the beginning of its stream, or one that was passed (`heir`).
    pub fn new(
        cookie: u64,
        slot: Slot,
        kind: Kind,
        listener: (&str, Object),
        socket: OwnedFd,
        heir: bool,
    ) -> io::Result<Connection> {
        let peer = peer_name(&socket);
        Ok(Connection {
            cookie,
            slot,
            kind,
            listener: listener.0.to_owned(),
            object: listener.1,
            peer,
            socket: sys::watch(socket)?,
            state: Mutex::new(State {
                heir,
                warm: heir,
                ..State::default()
            }),
        })
    }

    /// Adds what was just read.
    pub fn add_received(&self, state: &mut State, ledger: &Ledger, n: usize) {
        if state.received.is_none() {
            self.continue_from(state, ledger.stream(self.slot).1);
        }
        let more = match self.kind {
            Kind::Tcp => n as u64,
            Kind::Unix => u64::from(n > 0),
        };
        state.received = Some(state.received.unwrap_or(0) + more);
    }

    /// Goes on at this offset with what is kept.
    fn continue_from(&self, state: &mut State, offset: Offset) {
        let kept = state.splitter.carry().len() + state.waiting.len();
        state.cut = offset.cut && state.splitter.is_discarding();
        state.received = Some(match self.kind {
            Kind::Tcp => offset.bytes + kept as u64,
            Kind::Unix => offset.bytes >> 32,
        });
    }

    /// Goes on after a worker that didn't say where it was: the ledger knows what was queued, the
    /// kernel what was read. What lies between is lost, and so is the rest of the line it ends in, so that no
    /// wrong line is made.
    ///
    /// `mine`: the state of this process may be used if nobody has read since.
    fn recover(&self, state: &mut State, ledger: &Ledger, mine: bool) -> io::Result<Lost> {
        let (_, offset) = ledger.stream(self.slot);
        let kept = (state.splitter.carry().len() + state.waiting.len()) as u64;
        let read = match self.kind {
            Kind::Tcp => bytes_read(&self.socket)?.saturating_sub(offset.bytes),
            Kind::Unix => offset.bytes & KEPT,
        };
        // A state of our own is good if nobody has moved the offset since, and nobody has read.
        let untouched = state.received.is_some() && offset == self.offset(state);
        if mine && untouched && read == kept {
            return Ok(Lost::Nothing);
        }
        let clean = read == 0 && !offset.receiving;
        let discarding = !clean || offset.discarding;
        *state = State {
            warm: true,
            marked: state.marked,
            ..State::default()
        };
        state.splitter = Splitter::restore(Vec::new(), discarding);
        state.cut = !clean || offset.cut;
        state.received = Some(match self.kind {
            Kind::Tcp => offset.bytes + read,
            Kind::Unix => offset.bytes >> 32,
        });
        Ok(if clean {
            Lost::Nothing
        } else {
            Lost::Bytes(read)
        })
    }

    /// How far its stream is accounted for, for the ledger.
    ///
    /// Only after `add_received`.
    pub fn offset(&self, state: &State) -> Offset {
        self.offset_before(state, state.waiting.len())
    }

    /// The same, when so many bytes of whole lines wait.
    pub fn offset_before(&self, state: &State, waiting: usize) -> Offset {
        let kept = (state.splitter.carry().len() + waiting) as u64;
        let bytes = match self.kind {
            Kind::Tcp => state.received.unwrap_or(kept) - kept,
            Kind::Unix => (state.received.unwrap_or(0) & READS) << 32 | kept,
        };
        Offset {
            bytes,
            discarding: state.splitter.is_discarding(),
            receiving: false,
            cut: state.cut,
        }
    }
}

/// Bytes of a TCP stream that were read by anyone: what arrived less what wasn't read, and less a
/// FIN, which the kernel counts as a byte.
fn bytes_read(socket: &Watched) -> io::Result<u64> {
    const CLOSE: u8 = 7;
    const CLOSE_WAIT: u8 = 8;
    const LAST_ACK: u8 = 9;
    let fd = socket.get_ref().as_fd();
    // More may arrive between the two questions: ask until nothing did.
    let (mut info, mut unread) = (sys::tcp_info(fd)?, sys::unread(fd)?);
    loop {
        let again = sys::tcp_info(fd)?;
        if again == info {
            break;
        }
        (info, unread) = (again, sys::unread(fd)?);
    }
    let fin = match info.state {
        CLOSE_WAIT | LAST_ACK => 1,
        // After a reset the error says whether a FIN had come first. Asking clears it, and
        // the next read tells of the end all the same.
        CLOSE => match rustix::net::sockopt::socket_error(fd)? {
            Err(rustix::io::Errno::PIPE) => 1,
            _ => 0,
        },
        _ => 0,
    };
    Ok(info.bytes_received.saturating_sub(unread + fin))
}

fn peer_name(socket: &OwnedFd) -> String {
    let address = rustix::net::getpeername(socket).ok().flatten();
    match address.and_then(|address| std::net::SocketAddr::try_from(address).ok()) {
        Some(address) => address.to_string(),
        None => "a unix socket".to_owned(),
    }
}

/// All clients of a worker.
#[derive(Debug)]
pub struct Connections {
    table: Mutex<Table>,
    /// A bit for each slot: the connection is inside of a line, or has lines that wait for room. So a freeze
    /// looks at those alone.
    mid_line: Box<[AtomicU64]>,
    /// The partial lines of the predecessor. A connection takes its own when it is next read: not in the pause.
    inherited: OnceLock<Inherited>,
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
    /// By slot, for those that have a partial line: whether it is being discarded, how far the stream was accounted
    /// for, where the bytes lie.
    partials: Vec<Option<(bool, Offset, Range<usize>)>>,
}

impl Default for Connections {
    fn default() -> Connections {
        Connections {
            table: Mutex::default(),
            mid_line: (0..CONNECTIONS / 64).map(|_| AtomicU64::new(0)).collect(),
            inherited: OnceLock::new(),
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
        let mut state = connection.state.lock().unwrap_or_else(|e| e.into_inner());
        if std::mem::take(&mut state.heir)
            && let Some((discarding, offset, bytes)) = self.inheritance(connection.slot)
        {
            let whole = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
            let (waiting, carry) = bytes.split_at(whole);
            state.splitter = Splitter::restore(carry.to_vec(), discarding);
            state.waiting = waiting.to_vec();
            state.marked = true;
            connection.continue_from(&mut state, offset);
        }
        state
    }

    fn inheritance(&self, slot: Slot) -> Option<(bool, Offset, &[u8])> {
        let inherited = self.inherited.get()?;
        let (discarding, offset, range) =
            inherited.partials.get(slot.number() as usize)?.as_ref()?;
        Some((*discarding, *offset, &inherited.bytes[range.clone()]))
    }

    /// Notes whether a connection is inside of a line now. To be called with its state whenever that
    /// may have changed.
    pub fn mark(&self, connection: &Connection, state: &mut State) {
        let mid_line = !state.splitter.carry().is_empty()
            || state.splitter.is_discarding()
            || !state.waiting.is_empty();
        if mid_line != state.marked {
            state.marked = mid_line;
            self.set_mark(connection.slot.number(), mid_line);
        }
    }

    fn set_mark(&self, slot: u32, mid_line: bool) {
        let (word, bit) = (&self.mid_line[slot as usize / 64], 1 << (slot % 64));
        if mid_line {
            word.fetch_or(bit, Ordering::Relaxed);
        } else {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
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
            self.set_mark(gone.slot.number(), false);
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
        for (word, bits) in self.mid_line[..used.len().div_ceil(64)].iter().enumerate() {
            let mut bits = bits.load(Ordering::Relaxed);
            while bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if let Some(Some(connection)) = table.by_slot.get(slot) {
                    self.freeze_one(connection, &mut frozen);
                }
            }
        }
        frozen
    }

    fn freeze_one(&self, connection: &Connection, frozen: &mut FrozenWriter) {
        let slot = connection.slot;
        let state = connection.state.lock().unwrap_or_else(|e| e.into_inner());
        if state.heir {
            // It wasn't read in this worker's life: what it inherited is passed on.
            if let Some((discarding, _, bytes)) = self.inheritance(slot) {
                frozen.partial(slot.number(), discarding, bytes, &[]);
            }
            return;
        }
        let (carry, discarding) = (state.splitter.carry(), state.splitter.is_discarding());
        frozen.partial(slot.number(), discarding, &state.waiting, carry);
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
        let mut by_slot = vec![None; slots.len()];
        for partial in &partials {
            let place = by_slot.get_mut(partial.slot as usize);
            let place = place.ok_or_else(|| invalid("a partial line of nobody".into()))?;
            let start = partial.bytes.as_ptr().addr() - state.as_ptr().addr();
            let slot = Slot::from_number(partial.slot);
            let offset = slot.map(|slot| ledger.stream(slot).1).unwrap_or_default();
            let range = start..start + partial.bytes.len();
            *place = Some((partial.discarding, offset, range));
            self.set_mark(partial.slot, true);
        }
        drop(partials);
        let inherited = Inherited {
            bytes: state,
            partials: by_slot,
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
