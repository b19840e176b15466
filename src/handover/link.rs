//! JSON messages with descriptors over a SOCK_SEQPACKET socket.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Answer, Request};
use crate::sys;

/// The largest message; more goes in a memfd.
const MAX_MESSAGE: usize = 64 * 1024;
/// The largest memfd that is read whole.
const MAX_LARGE: u64 = 1 << 30;

fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_MESSAGE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "a message of {} bytes, over the limit of {MAX_MESSAGE}",
                bytes.len()
            ),
        ));
    }
    Ok(bytes)
}

/// One end of a conversation.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
    scratch: Mutex<Vec<u8>>,
}

impl Link {
    /// Speaks over this socket.
    pub fn new(socket: OwnedFd) -> Link {
        Link {
            socket,
            scratch: Mutex::new(vec![0; MAX_MESSAGE]),
        }
    }

    /// Two ends that speak to each other.
    pub fn pair() -> io::Result<(Link, OwnedFd)> {
        let (a, b) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Link::new(a), b))
    }

    /// The socket, to wait for.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends; waits while the socket is full.
    pub fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        sys::send(self.socket.as_fd(), &encode(message)?, fds, true)
    }

    /// Sends, or `WouldBlock` while the socket is full.
    pub fn try_send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        sys::send(self.socket.as_fd(), &encode(message)?, fds, false)
    }

    /// The next message and its descriptors; `None` when the other end has closed.
    ///
    /// # Errors
    /// `WouldBlock` unless `wait`; `InvalidData` for a message that isn't understood or came truncated: the
    /// conversation is broken.
    pub fn receive<T: DeserializeOwned>(
        &self,
        wait: bool,
    ) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let mut scratch = self.scratch.lock().unwrap_or_else(|e| e.into_inner());
        let packet = sys::receive(self.socket.as_fd(), &mut scratch, wait)?;
        if packet.bytes.is_empty() {
            return Ok(None);
        }
        let message = serde_json::from_slice(&packet.bytes)?;
        Ok(Some((message, packet.fds)))
    }
}

/// Messages that wait for room in a socket, for a sender that never blocks.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: VecDeque<(Vec<u8>, Vec<Rc<OwnedFd>>)>,
}

impl Outbox {
    /// Sends now, or when `flush` finds room. The order is kept.
    pub fn send(
        &mut self,
        link: &Link,
        message: &impl Serialize,
        fds: Vec<Rc<OwnedFd>>,
    ) -> io::Result<()> {
        self.waiting.push_back((encode(message)?, fds));
        self.flush(link)
    }

    /// Sends what waits, as far as it goes.
    pub fn flush(&mut self, link: &Link) -> io::Result<()> {
        while let Some((bytes, fds)) = self.waiting.front() {
            let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
            match sys::send(link.fd(), bytes, &fds, false) {
                Ok(()) => {
                    self.waiting.pop_front();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// The command line's end of the control socket.
#[derive(Debug)]
pub struct Client {
    link: Link,
}

impl Client {
    /// Connects to a running daemon.
    pub fn connect(path: &Path) -> io::Result<Client> {
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Client {
            link: Link::new(socket),
        })
    }

    /// Asks, and waits for the answer, at most `timeout` (none: as long as it takes).
    pub fn ask(&self, request: Request, timeout: Option<Duration>) -> io::Result<Answer> {
        self.wait_at_most(timeout)?;
        self.say(&request, None)?;
        self.hear()
    }

    /// Asks, with a descriptor beside it, and doesn't wait.
    pub fn say(&self, request: &Request, beside: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let fds: Vec<_> = beside.into_iter().collect();
        self.link.send(request, &fds)
    }

    /// How long [`hear`](Client::hear) waits (none: as long as it takes); then it is `WouldBlock`.
    pub fn wait_at_most(&self, timeout: Option<Duration>) -> io::Result<()> {
        Ok(rustix::net::sockopt::set_socket_timeout(
            &self.link.socket,
            rustix::net::sockopt::Timeout::Recv,
            timeout,
        )?)
    }

    /// Waits for an answer, or for what follows `watching`.
    pub fn hear(&self) -> io::Result<Answer> {
        let Some((answer, fds)) = self.link.receive::<Answer>(true)? else {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the daemon closed the connection without an answer",
            ));
        };
        match (answer, fds.first()) {
            (
                Answer::Status {
                    supervisor,
                    generations,
                    ..
                },
                Some(memory),
            ) => {
                let worker = serde_json::from_slice(&sys::read_memfd(memory.as_fd(), MAX_LARGE)?)?;
                Ok(Answer::Status {
                    supervisor,
                    generations,
                    worker,
                })
            }
            (Answer::Traced { outcome, .. }, Some(memory)) => {
                let traces = serde_json::from_slice(&sys::read_memfd(memory.as_fd(), MAX_LARGE)?)?;
                Ok(Answer::Traced { outcome, traces })
            }
            (answer, _) => Ok(answer),
        }
    }
}
