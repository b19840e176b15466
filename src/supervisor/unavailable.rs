//! The answer to HTTP requests while no worker serves: 503, so that a health check fails instead
//! of waiting.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketFlags};

const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\n\
content-length: 25\r\nretry-after: 1\r\nconnection: close\r\n\r\nno worker serves just now";
/// Requests at one time; more wait for a worker.
const MAX_WAITING: usize = 32;
const PATIENCE: Duration = Duration::from_secs(1);

/// Connections that were accepted and whose request is awaited, so that closing them doesn't
/// reset the answer away.
#[derive(Debug, Default)]
pub struct Unavailable {
    waiting: Vec<(OwnedFd, Instant)>,
}

impl Unavailable {
    /// Whether more can be accepted.
    pub fn accepts(&self) -> bool {
        self.waiting.len() < MAX_WAITING
    }

    /// Accepts one connection.
    pub fn accept(&mut self, listener: BorrowedFd<'_>, now: Instant) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // An error (nobody there any more, out of descriptors) leaves the connection where it was.
        if let Ok(socket) = rustix::net::accept_with(listener, flags) {
            self.waiting.push((socket, now + PATIENCE));
        }
    }

    /// What to wait for.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.waiting.iter().map(|(socket, _)| socket.as_fd())
    }

    /// When `turn` is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.iter().map(|(_, at)| *at).min()
    }

    /// Answers those who have asked; lets go of those who don't.
    pub fn turn(&mut self, now: Instant) {
        self.waiting.retain(|(socket, until)| {
            let mut request = [0; 4096];
            match rustix::net::recv(socket, &mut request, RecvFlags::DONTWAIT) {
                Err(rustix::io::Errno::WOULDBLOCK) => now < *until,
                Ok((_, n)) if n > 0 => {
                    // Best effort: whoever asks sees either this answer or a closed connection.
                    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                    let _sent = rustix::net::send(socket, ANSWER, flags);
                    let _closed = rustix::net::shutdown(socket, Shutdown::Write);
                    false
                }
                _ => false,
            }
        });
    }
}
