//! Descriptors in flight in a socket pair, as a log.
//!
//! Messages are written at one end and stay unread at the other: while anybody holds that end the kernel holds what was sent
//! beside them (SCM_RIGHTS, unix(7)), whatever becomes of the writer. A message takes some, or says that some have gone. As
//! the log grows, its oldest messages are written anew behind the newest, without what has gone, and only then taken away:
//! at each moment everything is in it at least once.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt};
use serde::{Deserialize, Serialize};

use crate::handover::Item;
use crate::sys;

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
/// What is asked for; the kernel grants what net.core.wmem_max allows.
const BUFFER: usize = 4 << 20;

/// What a descriptor is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// A connection or queue.
    Held(Item),
    /// A listener that the supervisor bound, and its socket file by device and inode.
    Bound(Item, Option<(PathBuf, u64, u64)>),
    /// The ledger.
    Ledger,
    /// The binary that last worked.
    Program,
    /// The config that last worked.
    Config,
    /// The generations there were, as JSON.
    History,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Message {
    /// One descriptor each.
    Take { kept: Vec<Kept> },
    /// The message is in the memfd that is the first descriptor.
    Long,
    Gone {
        cookies: Vec<u64>,
        queues: Vec<String>,
    },
    /// Nothing is to be kept any more.
    End,
}

/// What a descriptor is known by; a later one takes the place of an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Socket(u64),
    Queue(String),
    Only(&'static str),
}

impl Kept {
    fn key(&self) -> Key {
        match self {
            Kept::Held(Item::Queue { destination, .. }) => Key::Queue(destination.clone()),
            Kept::Held(item) | Kept::Bound(item, _) => Key::Socket(item.cookie().unwrap_or(0)),
            Kept::Ledger => Key::Only("ledger"),
            Kept::Program => Key::Only("program"),
            Kept::Config => Key::Only("config"),
            Kept::History => Key::Only("history"),
        }
    }
}

#[derive(Debug)]
struct Live {
    kept: Kept,
    fd: Rc<OwnedFd>,
    /// The message that it is in.
    at: u64,
}

/// The log, seen by its writer.
#[derive(Debug)]
pub struct Lot {
    ours: Rc<OwnedFd>,
    end: OwnedFd,
    live: HashMap<Key, Live>,
    /// What each message has taken, oldest first.
    log: VecDeque<Vec<Key>>,
    /// The number of the oldest message.
    first: u64,
    scratch: Vec<u8>,
}

impl Lot {
    /// An empty one.
    pub fn new() -> io::Result<Lot> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, end) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        sockopt::set_socket_send_buffer_size(&ours, BUFFER)?;
        Ok(Lot {
            ours: Rc::new(ours),
            end,
            live: HashMap::new(),
            log: VecDeque::new(),
            first: 0,
            scratch: vec![0; MAX_MESSAGE],
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

    /// Takes these.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room for more: what comes after isn't kept.
    pub fn take(&mut self, all: Vec<(Kept, Rc<OwnedFd>)>) -> io::Result<()> {
        let mut all = all.into_iter().peekable();
        while all.peek().is_some() {
            self.put(all.by_ref().take(BATCH).collect())?;
        }
        self.tidy(STEPS)
    }

    /// Lets go of these, by and by.
    ///
    /// # Errors
    /// As `take`.
    pub fn gone(&mut self, cookies: Vec<u64>, queues: Vec<String>) -> io::Result<()> {
        let sockets = cookies.iter().map(|cookie| Key::Socket(*cookie));
        let keys = sockets.chain(queues.iter().cloned().map(Key::Queue));
        let known = keys.filter(|key| self.live.remove(key).is_some()).count();
        if known > 0 {
            self.say(&Message::Gone { cookies, queues }, &[])?;
            self.log.push_back(Vec::new());
        }
        self.tidy(STEPS)
    }

    /// Lets go of all that has gone, now.
    ///
    /// # Errors
    /// As `take`.
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
    /// As `take`.
    pub fn end_it(&self) -> io::Result<()> {
        self.say(&Message::End, &[])
    }

    fn tidy(&mut self, steps: usize) -> io::Result<()> {
        for _ in 0..steps {
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
        for (number, keys) in (self.first..).zip(&self.log) {
            let lives = |key: &&Key| self.live.get(*key).is_some_and(|live| live.at == number);
            let living: Vec<&Key> = keys.iter().filter(lives).collect();
            if old > 0 && again.len() + living.len() > BATCH {
                break;
            }
            again.extend(living.iter().map(|key| {
                let live = &self.live[*key];
                (live.kept.clone(), live.fd.clone())
            }));
            old += 1;
        }
        if !again.is_empty() {
            self.put(again)?;
        }
        for _ in 0..old {
            drop(sys::receive(self.end.as_fd(), &mut self.scratch, false)?);
            self.log.pop_front();
            self.first += 1;
        }
        Ok(())
    }

    fn put(&mut self, all: Vec<(Kept, Rc<OwnedFd>)>) -> io::Result<()> {
        let fds: Vec<_> = all.iter().map(|(_, fd)| fd.as_fd()).collect();
        let kept = all.iter().map(|(kept, _)| kept.clone()).collect();
        self.say(&Message::Take { kept }, &fds)?;
        let at = self.first + self.log.len() as u64;
        let mut keys = Vec::with_capacity(all.len());
        for (kept, fd) in all {
            let key = kept.key();
            keys.push(key.clone());
            self.live.insert(key, Live { kept, fd, at });
        }
        self.log.push_back(keys);
        Ok(())
    }

    fn say(&self, message: &Message, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let json = serde_json::to_vec(message)?;
        if json.len() <= SHORT {
            return sys::send(self.ours.as_fd(), &json, fds, false);
        }
        let memory = sys::memfd_with("baton-kept", &[json])?;
        let fds: Vec<_> = [memory.as_fd()].iter().chain(fds).copied().collect();
        let long = serde_json::to_vec(&Message::Long)?;
        sys::send(self.ours.as_fd(), &long, &fds, false)
    }
}

/// What is in a lot, by its end; `None` if it was said that nothing is to be kept. It is in it no more.
///
/// # Errors
/// When a message isn't understood, or there is no room for its descriptors.
pub fn read(end: BorrowedFd<'_>) -> io::Result<Option<Vec<(Kept, OwnedFd)>>> {
    let mut scratch = vec![0; MAX_MESSAGE];
    let mut all = HashMap::new();
    loop {
        let mut packet = match sys::receive(end, &mut scratch, false) {
            Ok(packet) if packet.bytes.is_empty() => break,
            Ok(packet) => packet,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        };
        let mut message = serde_json::from_slice(&packet.bytes)?;
        if matches!(message, Message::Long) && !packet.fds.is_empty() {
            let memory = packet.fds.remove(0);
            message = serde_json::from_slice(&sys::read_memfd(memory.as_fd(), MAX_MEMORY)?)?;
        }
        match message {
            Message::Take { kept } if kept.len() == packet.fds.len() => {
                let each = kept.into_iter().zip(packet.fds);
                all.extend(each.map(|(kept, fd)| (kept.key(), (kept, fd))));
            }
            Message::Gone { cookies, queues } => {
                let sockets = cookies.into_iter().map(Key::Socket);
                for key in sockets.chain(queues.into_iter().map(Key::Queue)) {
                    all.remove(&key);
                }
            }
            Message::End => return Ok(None),
            Message::Take { .. } | Message::Long => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a message without its descriptors",
                ));
            }
        }
    }
    Ok(Some(all.into_values().collect()))
}

#[cfg(test)]
mod tests;
