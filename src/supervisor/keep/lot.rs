//! Descriptors in flight in socket pairs, as a log.
//!
//! Messages are written at one end and stay unread at the other: while anybody holds that end the kernel holds what was sent
//! beside them (SCM_RIGHTS, unix(7)), whatever becomes of the writer. A message takes some, or says that some have gone. As
//! the log grows, its oldest messages are written anew behind the newest, without what has gone, and only then taken away:
//! at each moment everything is in it at least once.
//!
//! A pair has room for some hundred messages only (net.core.wmem_max), so the log goes on in another one when it is full. The
//! ends of all these parts are themselves in flight, in the one pair whose end is kept.
//!
//! What the kernel doesn't take waits, and is written as soon as it does.

mod read;
mod words;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair, sockopt};

use crate::sys;
use words::{Key, Message, Outer, VERSION};

pub use read::read;
pub use words::Kept;

/// Descriptors of one message; one place is left for what is said about them, if that is long.
const BATCH: usize = sys::MAX_FDS - 1;
/// What is said at more length goes in a memfd: a socket has room for some hundred messages of less.
const SHORT: usize = 1024;
/// The largest message of all.
const MAX_MESSAGE: usize = 2 * SHORT;
const MAX_MEMORY: u64 = 16 << 20;
/// From so many messages on, beyond those that full batches take, the oldest are written anew.
const SPARE: usize = 96;
/// How many at a time: it is done between other things.
const STEPS: usize = 8;
/// How many that have gone are told in one message.
const MAX_GONE: usize = 10_000;
/// What is asked for; the kernel grants what net.core.wmem_max allows.
const BUFFER: usize = 4 << 20;

#[derive(Debug)]
struct Live {
    kept: Kept,
    fd: Rc<OwnedFd>,
    /// The message that it is in, if it is.
    at: Option<u64>,
}

/// A pair of the log.
#[derive(Debug)]
struct Part {
    ours: OwnedFd,
    end: OwnedFd,
    /// How many are in it.
    messages: usize,
}

/// What a message has in it.
#[derive(Debug)]
struct Written {
    keys: Vec<Key>,
    descriptors: usize,
}

/// The log, seen by its writer.
#[derive(Debug)]
pub struct Lot {
    ours: Rc<OwnedFd>,
    end: OwnedFd,
    /// Oldest first.
    parts: VecDeque<Part>,
    live: HashMap<Key, Live>,
    /// What is live, and not yet written as it now is.
    unwritten: HashSet<Key>,
    /// What is written, and has gone, which isn't.
    gone: HashSet<Key>,
    /// All messages, oldest first.
    log: VecDeque<Written>,
    /// The number of the oldest message.
    first: u64,
    /// Descriptors in all messages.
    in_flight: usize,
    /// As many as may be.
    room: usize,
    /// Of each pair, in bytes.
    buffer: usize,
}

impl Lot {
    /// An empty one.
    pub fn new() -> io::Result<Lot> {
        // So many a user may have in flight (unix(7), ETOOMANYREFS). Some are so on their way to and from workers.
        let limit = sys::raise_open_files() as usize;
        Lot::with(BUFFER, limit - limit / 8)
    }

    fn with(buffer: usize, room: usize) -> io::Result<Lot> {
        let (ours, end) = pair(buffer)?;
        Ok(Lot {
            ours: Rc::new(ours),
            end,
            parts: VecDeque::new(),
            live: HashMap::new(),
            unwritten: HashSet::new(),
            gone: HashSet::new(),
            log: VecDeque::new(),
            first: 0,
            in_flight: 0,
            room,
            buffer,
        })
    }

    /// The end that is to be kept.
    pub fn end(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    /// The other one: while it isn't hung up, somebody holds the end.
    pub fn token(&self) -> Rc<OwnedFd> {
        self.ours.clone()
    }

    /// How many descriptors are in it, and of how many that are to be.
    pub fn counts(&self) -> (usize, usize) {
        (self.live.len() - self.unwritten.len(), self.live.len())
    }

    /// Takes these, by the next `write`.
    pub fn take(&mut self, all: impl IntoIterator<Item = (Kept, Rc<OwnedFd>)>) {
        for (kept, fd) in all {
            let key = kept.key();
            let at = self.live.get(&key).and_then(|live| live.at);
            self.unwritten.insert(key.clone());
            self.live.insert(key, Live { kept, fd, at });
        }
    }

    /// Lets go of these, by the next `write`, and by and by.
    pub fn gone(&mut self, cookies: Vec<u64>, queues: Vec<String>) {
        let sockets = cookies.into_iter().map(Key::Socket);
        for key in sockets.chain(queues.into_iter().map(Key::Queue)) {
            self.unwritten.remove(&key);
            if self.live.remove(&key).is_some_and(|live| live.at.is_some()) {
                self.gone.insert(key);
            }
        }
    }

    /// Writes what isn't written.
    ///
    /// # Errors
    /// What the kernel says. The rest is as before: unwritten, to be tried again.
    pub fn write(&mut self) -> io::Result<()> {
        // First what has gone: a queue may be taken anew after that.
        while !self.gone.is_empty() {
            self.write_gone()?;
        }
        while !self.unwritten.is_empty() {
            let keys: Vec<Key> = self.unwritten.iter().take(BATCH).cloned().collect();
            self.make_room(keys.len())?;
            self.put(keys)?;
        }
        self.tidy()
    }

    /// Lets go of all that has gone, now.
    ///
    /// # Errors
    /// As `write`.
    pub fn tidy_all(&mut self) -> io::Result<()> {
        // Once around: from then on only what is live is in it.
        let last = self.first + self.log.len() as u64;
        while self.first < last {
            self.step()?;
        }
        Ok(())
    }

    /// Says that nothing is to be kept any more.
    ///
    /// # Errors
    /// As `write`.
    pub fn end_it(&mut self) -> io::Result<()> {
        self.say(&Message::End, &[], Vec::new())
    }

    fn write_gone(&mut self) -> io::Result<()> {
        let keys: Vec<Key> = self.gone.iter().take(MAX_GONE).cloned().collect();
        let (mut cookies, mut queues) = (Vec::new(), Vec::new());
        for key in &keys {
            match key {
                Key::Socket(cookie) => cookies.push(*cookie),
                Key::Queue(queue) => queues.push(queue.clone()),
                Key::Only(_) => {}
            }
        }
        self.say(&Message::Gone { cookies, queues }, &[], Vec::new())?;
        for key in keys {
            self.gone.remove(&key);
        }
        Ok(())
    }

    /// What has gone makes room for so many more.
    fn make_room(&mut self, more: usize) -> io::Result<()> {
        let (living, _) = self.counts();
        for _ in 0..STEPS {
            // One in many is what is said about the others.
            if living + living / 64 + more > self.room {
                break;
            }
            if self.in_flight + more <= self.room {
                return Ok(());
            }
            self.step()?;
        }
        Err(io::Error::new(
            io::ErrorKind::WouldBlock,
            format!(
                "{} descriptors are in it, near RLIMIT_NOFILE",
                self.in_flight
            ),
        ))
    }

    fn tidy(&mut self) -> io::Result<()> {
        for _ in 0..STEPS {
            if self.log.len() < SPARE + 2 * self.live.len() / BATCH {
                break;
            }
            self.step()?;
        }
        Ok(())
    }

    /// Writes what lives of the oldest messages anew, as many as make one, and takes them away.
    fn step(&mut self) -> io::Result<()> {
        let mut again = Vec::new();
        let mut old = 0;
        for (number, written) in (self.first..).zip(&self.log) {
            let lives = |key: &&Key| {
                self.live
                    .get(*key)
                    .is_some_and(|live| live.at == Some(number))
            };
            let living: Vec<&Key> = written.keys.iter().filter(lives).collect();
            if old > 0 && again.len() + living.len() > BATCH {
                break;
            }
            again.extend(living.into_iter().cloned());
            old += 1;
        }
        if !again.is_empty() {
            self.put(again)?;
        }
        for _ in 0..old {
            self.take_oldest_away()?;
        }
        Ok(())
    }

    fn take_oldest_away(&mut self) -> io::Result<()> {
        while self.parts.len() > 1 && self.parts.front().is_some_and(|part| part.messages == 0) {
            discard(&self.end)?;
            self.parts.pop_front();
        }
        let Some(part) = self.parts.front_mut() else {
            return Ok(());
        };
        discard(&part.end)?;
        part.messages -= 1;
        if let Some(written) = self.log.pop_front() {
            self.in_flight -= written.descriptors;
            self.first += 1;
        }
        Ok(())
    }

    /// Writes these, which are live.
    fn put(&mut self, keys: Vec<Key>) -> io::Result<()> {
        let all = keys.iter().filter_map(|key| self.live.get(key));
        let (kept, fds): (Vec<_>, Vec<_>) =
            all.map(|live| (live.kept.clone(), live.fd.clone())).unzip();
        let at = self.first + self.log.len() as u64;
        self.say(&Message::Take { kept }, &fds, keys.clone())?;
        for key in keys {
            self.unwritten.remove(&key);
            if let Some(live) = self.live.get_mut(&key) {
                live.at = Some(at);
            }
        }
        Ok(())
    }

    fn say(
        &mut self,
        message: &Message<Kept>,
        fds: &[Rc<OwnedFd>],
        keys: Vec<Key>,
    ) -> io::Result<()> {
        let mut fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
        let mut json = serde_json::to_vec(message)?;
        let memory;
        if json.len() > SHORT {
            memory = sys::memfd_with("baton-kept", &[json])?;
            json = serde_json::to_vec(&Message::<Kept>::Long)?;
            fds.insert(0, memory.as_fd());
        }
        self.send(&json, &fds)?;
        let descriptors = fds.len();
        self.in_flight += descriptors;
        self.log.push_back(Written { keys, descriptors });
        Ok(())
    }

    /// Sends it in the newest part, or in one more.
    fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let sent = match self.parts.back() {
            Some(part) => sys::send(part.ours.as_fd(), bytes, fds, false),
            None => Err(io::ErrorKind::WouldBlock.into()),
        };
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let part = self.one_more()?;
                sys::send(part.ours.as_fd(), bytes, fds, false)?;
            }
            sent => sent?,
        }
        if let Some(part) = self.parts.back_mut() {
            part.messages += 1;
        }
        Ok(())
    }

    fn one_more(&mut self) -> io::Result<&Part> {
        let (ours, end) = pair(self.buffer)?;
        let outer = serde_json::to_vec(&Outer::Part { version: VERSION })?;
        sys::send(self.ours.as_fd(), &outer, &[end.as_fd()], false)?;
        Ok(self.parts.push_back_mut(Part {
            ours,
            end,
            messages: 0,
        }))
    }
}

fn pair(buffer: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, end) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    sockopt::set_socket_send_buffer_size(&ours, buffer)?;
    Ok((ours, end))
}

/// Takes a message away. Who asks for no descriptors gets none: the kernel closes them.
fn discard(end: &OwnedFd) -> io::Result<()> {
    recv(end, &mut [0; 1], RecvFlags::DONTWAIT)?;
    Ok(())
}

#[cfg(test)]
mod tests;
