//! The clients of a worker, kept outside of the tasks that read them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::decode::split::Splitter;
use crate::handover::{FrozenWriter, Partial};
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
    /// Bytes read since the stream began (unix: meaningless); `None` until the first read here,
    /// when it is what the ledger says and what is kept.
    pub received: Option<u64>,
    /// The table, by its address, and the blocking rings in it that the last batch went to.
    pub goes_to: (usize, Vec<usize>),
    /// Something was read: larger reads are worth it.
    pub warm: bool,
    /// What is being discarded is the rest of a line that a killed worker had begun to read.
    pub cut: bool,
    /// It was told what the first rejected line looks like.
    pub noted: bool,
}

/// What a crash cost a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Nothing.
    Nothing,
    /// Bytes that were read and not queued; the rest of the line they end in will be discarded.
    Bytes(u64),
}

impl Connection {
    /// A connection at the beginning of its stream.
    pub fn new(
        cookie: u64,
        slot: Slot,
        kind: Kind,
        listener: (&str, Object),
        socket: OwnedFd,
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
            state: Mutex::default(),
        })
    }

    /// Where it is in its stream.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Writes what a successor needs to go on: nothing between lines.
    fn freeze(&self, frozen: &mut FrozenWriter) {
        frozen.socket(self.cookie);
        let state = self.state();
        let (carry, discarding) = (state.splitter.carry(), state.splitter.is_discarding());
        if !carry.is_empty() || discarding || !state.waiting.is_empty() {
            frozen.partial(self.cookie, discarding, &state.waiting, carry);
        }
    }

    /// Goes on where a predecessor was that said so.
    fn resume(&self, partial: &Partial<'_>) {
        let whole = memchr::memrchr(b'\n', partial.bytes).map_or(0, |at| at + 1);
        let (waiting, carry) = partial.bytes.split_at(whole);
        let mut state = self.state();
        state.splitter = Splitter::restore(carry.to_vec(), partial.discarding);
        state.waiting = waiting.to_vec();
        state.received = None;
    }

    /// Adds what was just read.
    pub fn add_received(&self, state: &mut State, ledger: &Ledger, n: usize) {
        let before = state.received.unwrap_or_else(|| {
            let kept = state.splitter.carry().len() + state.waiting.len();
            ledger.stream(self.slot).1.bytes + kept as u64
        });
        state.received = Some(before + n as u64);
    }

    /// Goes on after a worker that didn't say where it was: the ledger knows what was queued, the
    /// kernel what was read. What lies between is lost, and so is the rest of the line it ends in, so that no
    /// wrong line is made.
    ///
    /// `mine`: the state of this process may be used if nobody has read since.
    pub fn recover(&self, ledger: &Ledger, mine: bool) -> io::Result<Lost> {
        let (_, offset) = ledger.stream(self.slot);
        let mut state = self.state();
        let (read, known) = match self.kind {
            Kind::Tcp => {
                let read = bytes_read(&self.socket)?;
                // A partial line of our own is good if it is just what lies between.
                let kept = state.splitter.carry().len() + state.waiting.len();
                (
                    read - offset.bytes.min(read),
                    mine && offset.bytes + kept as u64 == read,
                )
            }
            Kind::Unix => {
                let kept = (state.splitter.carry().len() + state.waiting.len()) as u64;
                (
                    offset.bytes,
                    mine && !offset.receiving && kept == offset.bytes,
                )
            }
        };
        if known {
            return Ok(Lost::Nothing);
        }
        let clean = read == 0 && !offset.receiving;
        let discarding = !clean || offset.discarding;
        *state = State {
            warm: true,
            ..State::default()
        };
        state.splitter = Splitter::restore(Vec::new(), discarding);
        state.cut = !clean;
        state.received = Some(offset.bytes + if self.kind == Kind::Tcp { read } else { 0 });
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
            Kind::Unix => kept,
        };
        Offset {
            bytes,
            discarding: state.splitter.is_discarding(),
            receiving: false,
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
#[derive(Debug, Default)]
pub struct Connections {
    table: Mutex<Table>,
    /// Woken when one has gone: accepting goes on.
    pub closed: Notify,
}

#[derive(Debug)]
struct Table {
    by_cookie: HashMap<u64, Arc<Connection>, BuildHasherDefault<CookieHasher>>,
    /// One bit a slot of the ledger: whether a connection has it.
    used: Vec<u64>,
    /// Where the search for a free slot begins.
    next: usize,
}

impl Default for Table {
    fn default() -> Table {
        Table {
            by_cookie: HashMap::default(),
            used: vec![0; CONNECTIONS / 64],
            next: 0,
        }
    }
}

impl Table {
    fn mark(&mut self, slot: Slot, used: bool) {
        let (word, bit) = (slot.number() as usize / 64, slot.number() % 64);
        self.used[word] = self.used[word] & !(1 << bit) | u64::from(used) << bit;
    }
}

/// Cookies are the kernel's own numbers, counted up: they need spreading, not secrecy.
#[derive(Debug, Default)]
pub struct CookieHasher(u64);

impl Hasher for CookieHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, cookie: u64) {
        // Fibonacci hashing: the table looks at the upper bits and the lower ones.
        let spread = (self.0 ^ cookie).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ (spread >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Connections {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A slot for a new connection, which `insert` or `give_slot` must follow.
    pub fn take_slot(&self) -> Option<Slot> {
        let mut table = self.table();
        let words = table.used.len();
        for step in 0..words {
            let word = (table.next + step) % words;
            let free = !table.used[word];
            if free != 0 {
                table.next = word;
                let slot = Slot::from_number((word * 64) as u32 + free.trailing_zeros())?;
                table.mark(slot, true);
                return Some(slot);
            }
        }
        None
    }

    /// Gives a slot back that came to nothing.
    pub fn give_slot(&self, slot: Slot) {
        self.table().mark(slot, false);
    }

    /// Adds one.
    pub fn insert(&self, connection: Arc<Connection>) {
        let mut table = self.table();
        table.mark(connection.slot, true);
        table.by_cookie.insert(connection.cookie, connection);
    }

    /// Removes one, and frees its slot.
    pub fn remove(&self, cookie: u64) -> Option<Arc<Connection>> {
        let mut table = self.table();
        let gone = table.by_cookie.remove(&cookie)?;
        table.mark(gone.slot, false);
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

    /// Writes all of them, and the partial lines of those that have one, for a successor.
    pub fn freeze(&self) -> FrozenWriter {
        let table = self.table();
        let mut frozen = FrozenWriter::with_capacity(table.by_cookie.len() + 64);
        table.by_cookie.values().for_each(|c| c.freeze(&mut frozen));
        frozen
    }

    /// How many of these are here.
    pub fn count_of(&self, cookies: &[u64]) -> usize {
        let table = self.table();
        cookies
            .iter()
            .filter(|cookie| table.by_cookie.contains_key(cookie))
            .count()
    }

    /// Goes on inside of the lines that a predecessor had begun.
    ///
    /// # Errors
    /// `InvalidData` when one of the connections isn't here.
    pub fn resume(&self, partials: &[Partial<'_>]) -> io::Result<()> {
        let table = self.table();
        for partial in partials {
            let Some(connection) = table.by_cookie.get(&partial.cookie) else {
                let what = format!(
                    "a partial line of connection {}, which isn't here",
                    partial.cookie
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            };
            connection.resume(partial);
        }
        Ok(())
    }
}
