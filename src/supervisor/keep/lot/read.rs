//! What a successor finds in a lot.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde_json::Value;

use super::words::{Kept, Key, Message, Outer, VERSION};
use super::{MAX_MEMORY, MAX_MESSAGE};
use crate::sys::{self, Packet};

/// What was in it.
#[derive(Debug)]
pub struct Contents<T = OwnedFd> {
    /// What is held.
    pub kept: Vec<(Kept, T)>,
    /// Descriptors of kinds that this version doesn't know: closed.
    pub unknown: usize,
    /// Messages that were cut, since there was no room for their descriptors (RLIMIT_NOFILE).
    pub cut: usize,
    /// How parts begin that aren't of this version. Nothing of them is read.
    pub foreign: Option<String>,
}

/// What is in a lot, by its end; `None` if it was said that nothing is to be kept. It is in it no more.
///
/// # Errors
/// When it can't be read at all.
pub fn read(end: BorrowedFd<'_>) -> io::Result<Option<Contents>> {
    read_as(end, |fd| fd)
}

/// The same, with what becomes of each descriptor.
pub(super) fn read_as<T>(
    end: BorrowedFd<'_>,
    becomes: fn(OwnedFd) -> T,
) -> io::Result<Option<Contents<T>>> {
    let mut reader = Reader {
        scratch: vec![0; MAX_MESSAGE],
        all: HashMap::new(),
        becomes,
        contents: Contents {
            kept: Vec::new(),
            unknown: 0,
            cut: 0,
            foreign: None,
        },
    };
    while let Some(mut packet) = reader.next(end)? {
        let outer = serde_json::from_slice(&packet.bytes);
        let part = packet.fds.pop();
        match (outer, part) {
            (Ok(Outer::Part { version: VERSION }), Some(part)) => {
                if reader.part(part.as_fd())?.is_end() {
                    return Ok(None);
                }
            }
            (_, part) => {
                let said = &mut reader.contents.foreign;
                *said = Some(String::from_utf8_lossy(&packet.bytes).into_owned());
                if let Some(part) = part {
                    reader.count(part.as_fd())?;
                }
            }
        }
    }
    reader.contents.kept = reader.all.into_values().collect();
    Ok(Some(reader.contents))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    GoesOn,
    End,
}

impl Part {
    fn is_end(self) -> bool {
        self == Part::End
    }
}

struct Reader<T> {
    scratch: Vec<u8>,
    all: HashMap<Key, (Kept, T)>,
    becomes: fn(OwnedFd) -> T,
    contents: Contents<T>,
}

impl<T> Reader<T> {
    /// The next message that came whole.
    fn next(&mut self, end: BorrowedFd<'_>) -> io::Result<Option<Packet>> {
        loop {
            match sys::receive(end, &mut self.scratch, false) {
                Ok(packet) if packet.bytes.is_empty() => return Ok(None),
                Ok(packet) => return Ok(Some(packet)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => self.contents.cut += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn part(&mut self, end: BorrowedFd<'_>) -> io::Result<Part> {
        while let Some(mut packet) = self.next(end)? {
            let mut message = understood(&packet.bytes);
            if matches!(message, Some(Message::Long)) && !packet.fds.is_empty() {
                let memory = packet.fds.remove(0);
                let long = sys::read_memfd(memory.as_fd(), MAX_MEMORY);
                message = long.ok().and_then(|bytes| understood(&bytes));
            }
            match message {
                Some(Message::Take { kept }) if kept.len() == packet.fds.len() => {
                    for (kept, fd) in kept.into_iter().zip(packet.fds) {
                        match kept {
                            Some(kept) => {
                                self.all.insert(kept.key(), (kept, (self.becomes)(fd)));
                            }
                            None => self.contents.unknown += 1,
                        }
                    }
                }
                Some(Message::Gone { cookies, queues }) => {
                    let sockets = cookies.into_iter().map(Key::Socket);
                    for key in sockets.chain(queues.into_iter().map(Key::Queue)) {
                        self.all.remove(&key);
                    }
                }
                Some(Message::End) => return Ok(Part::End),
                Some(Message::Take { .. } | Message::Long) | None => {
                    self.contents.unknown += packet.fds.len();
                }
            }
        }
        Ok(Part::GoesOn)
    }

    /// What is in a part that isn't understood.
    fn count(&mut self, end: BorrowedFd<'_>) -> io::Result<()> {
        while let Some(packet) = self.next(end)? {
            self.contents.unknown += packet.fds.len();
        }
        Ok(())
    }
}

/// What a message says, as far as it is understood: kinds that aren't known are none.
fn understood(bytes: &[u8]) -> Option<Message<Option<Kept>>> {
    // Nearly always all is known.
    if let Ok(message) = serde_json::from_slice::<Message<Kept>>(bytes) {
        return Some(each(message, Some));
    }
    let message = serde_json::from_slice::<Message<Value>>(bytes).ok()?;
    Some(each(message, |kept| serde_json::from_value(kept).ok()))
}

fn each<K>(message: Message<K>, kind: impl Fn(K) -> Option<Kept>) -> Message<Option<Kept>> {
    match message {
        Message::Take { kept } => Message::Take {
            kept: kept.into_iter().map(kind).collect(),
        },
        Message::Long => Message::Long,
        Message::Gone { cookies, queues } => Message::Gone { cookies, queues },
        Message::End => Message::End,
    }
}
