//! A client's connection, and where it is in its stream.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard};

use crate::intake::Snapshot;
use crate::ledger::{Ledger, Object, Offset, Slot};
use crate::sys::{self, Watched};

use super::framing::{Framing, Protocol};

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
    /// What is spoken on it.
    pub protocol: Protocol,
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
    /// The line or pickle that hasn't ended yet.
    pub framing: Framing,
    /// Whole lines, or pickles, that were read and found no room in a blocking ring.
    pub waiting: Vec<u8>,
    /// Pickles: so many items of the first one that waits are placed already. Each of them counts as one of its bytes in
    /// the offset, so that this moves whenever something was placed: no pickle has more items than bytes.
    pub placed: usize,
    /// Pickles: the memory that is counted in [`Inputs::frames`](super::Inputs::frames) and
    /// [`Inputs::pickles`](super::Inputs::pickles).
    pub counted: (usize, usize),
    /// TCP: bytes read since the stream began. Unix, where nobody knows that: how often it was read.
    /// `None` until the first read here, when it is what the ledger says and what is kept.
    pub received: Option<u64>,
    /// The table, by its id, and the destinations in it that the last batch went to.
    pub goes_to: (u64, Vec<usize>),
    /// Something was read: larger reads are worth it.
    pub warm: bool,
    /// It is marked as being inside of a line.
    pub marked: bool,
    /// What is being discarded is the rest of a line that a killed worker had begun to read; pickles: the connection ends
    /// for that.
    pub cut: bool,
    /// It is closed: who still holds it has nothing to read.
    pub ended: bool,
    /// It was told what the first rejected line looks like.
    pub noted: bool,
}

impl State {
    /// Bytes that were read and are not accounted for.
    fn kept(&self) -> usize {
        self.framing.carry().len() + self.waiting.len() - self.placed
    }

    /// Whether it is known where its lines go, by this table.
    pub(super) fn goes_somewhere(&self, snapshot: &Snapshot) -> bool {
        let (table, rings) = &self.goes_to;
        *table == snapshot.table.id() && !rings.is_empty()
    }
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
    /// Bytes that were read and not queued; the rest of the line they end in will be discarded, and a stream of pickles
    /// closed.
    Bytes(u64),
}

impl Connection {
    /// A connection at the beginning of its stream, or one that was `passed`.
    pub fn new(
        cookie: u64,
        slot: Slot,
        (kind, protocol): (Kind, Protocol),
        listener: (&str, Object),
        socket: OwnedFd,
        passed: bool,
    ) -> io::Result<Connection> {
        let peer = peer_name(&socket);
        Ok(Connection {
            cookie,
            slot,
            kind,
            protocol,
            listener: listener.0.to_owned(),
            object: listener.1,
            peer,
            socket: sys::watch(socket)?,
            state: Mutex::new(State {
                warm: passed,
                framing: Framing::new(protocol),
                ..State::default()
            }),
        })
    }

    /// Where it is in its stream, as far as this worker has read it; [`Connections::state`] knows the rest.
    ///
    /// [`Connections::state`]: super::Connections::state
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// How many bytes have come that nobody has read.
    pub(super) fn unread(&self) -> io::Result<u64> {
        sys::unread(self.socket.get_ref().as_fd())
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
    pub(super) fn continue_from(&self, state: &mut State, offset: Offset) {
        let kept = state.kept();
        state.cut = offset.cut && state.framing.is_discarding();
        state.received = Some(match self.kind {
            Kind::Tcp => offset.bytes + kept as u64,
            Kind::Unix => offset.bytes >> 32,
        });
    }

    /// Goes on after a worker that didn't say where it was: the ledger knows what was queued, the
    /// kernel what was read. What lies between is lost, and so is the rest of the line it ends in, so that no
    /// wrong line is made. Where the next pickle begins nobody knows any more: such a stream ends here.
    ///
    /// `mine`: the state of this process may be used if nobody has read since.
    pub(super) fn recover(
        &self,
        state: &mut State,
        ledger: &Ledger,
        mine: bool,
    ) -> io::Result<Lost> {
        let (_, offset) = ledger.stream(self.slot);
        let kept = state.kept() as u64;
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
            counted: state.counted,
            framing: Framing::restore(self.protocol, Vec::new(), discarding),
            ..State::default()
        };
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
        self.offset_before(state, state.waiting.len() - state.placed)
    }

    /// The same, when so many bytes of whole lines wait; of a pickle that is placed in part, less the items placed.
    pub fn offset_before(&self, state: &State, waiting: usize) -> Offset {
        let kept = (state.framing.carry().len() + waiting) as u64;
        let bytes = match self.kind {
            Kind::Tcp => state.received.unwrap_or(kept) - kept,
            Kind::Unix => (state.received.unwrap_or(0) & READS) << 32 | kept,
        };
        Offset {
            bytes,
            discarding: state.framing.is_discarding(),
            receiving: false,
            cut: state.cut,
            pickle: self.protocol == Protocol::Pickle,
        }
    }
}

/// Bytes of a TCP stream that were read by anyone: what arrived less what wasn't read, and less a
/// FIN, which the kernel counts as a byte.
fn bytes_read(socket: &Watched) -> io::Result<u64> {
    const CLOSE: u8 = 7;
    const CLOSE_WAIT: u8 = 8;
    const LAST_ACK: u8 = 9;
    const CLOSING: u8 = 11;
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
        CLOSE_WAIT | LAST_ACK | CLOSING => 1,
        // Without an error both sides have ended. After a reset the error says whether a FIN had come first. Asking
        // clears it, and the next read tells of the end all the same.
        CLOSE => match rustix::net::sockopt::socket_error(fd)? {
            Ok(()) | Err(rustix::io::Errno::PIPE) => 1,
            Err(_) => 0,
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use rustix::net::sockopt::set_socket_linger;

    use super::*;

    /// A client that has sent ten bytes, and our end, which has read them.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut ours = listener.accept().unwrap().0;
        client.write_all(b"a.name 1 1").unwrap();
        ours.read_exact(&mut [0; 10]).unwrap();
        (client, ours)
    }

    fn wait_for_state(ours: &TcpStream, state: u8) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while sys::tcp_info(ours.as_fd()).unwrap().state != state {
            assert!(Instant::now() < deadline, "never in state {state}");
            std::thread::yield_now();
        }
    }

    fn read_of(ours: TcpStream) -> u64 {
        bytes_read(&sys::watch(ours.into()).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn an_end_is_no_byte_in_whatever_state_the_connection_is_found() {
        let (_client, ours) = pair();
        assert_eq!(read_of(ours), 10);

        let (client, ours) = pair();
        client.shutdown(Shutdown::Write).unwrap();
        wait_for_state(&ours, 8);
        assert_eq!(read_of(ours), 10, "the client has ended its side");

        // Ours was ended, too, by a worker that died before it could say so.
        let (client, ours) = pair();
        client.shutdown(Shutdown::Write).unwrap();
        wait_for_state(&ours, 8);
        ours.shutdown(Shutdown::Both).unwrap();
        wait_for_state(&ours, 7);
        assert_eq!(read_of(ours), 10, "both have ended");

        // As a stop does it.
        let (client, ours) = pair();
        ours.shutdown(Shutdown::Write).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        wait_for_state(&ours, 7);
        assert_eq!(read_of(ours), 10, "both have ended, we first");

        for end_first in [false, true] {
            let (client, ours) = pair();
            if end_first {
                client.shutdown(Shutdown::Write).unwrap();
                wait_for_state(&ours, 8);
                (&ours).write_all(b"unread").unwrap();
            }
            set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
            drop(client);
            wait_for_state(&ours, 7);
            assert_eq!(read_of(ours), 10, "reset; ended before: {end_first}");
        }
    }
}
