//! One connection to a sink: its bytes become lines.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::{setsockopt_impl, sockopt_impl};
use rustix::net::{RecvFlags, recv, sockopt};

use super::Books;
use super::frames;
use crate::drill::{Account, Clock};

/// A line longer than this is none of ours.
const LONGEST: usize = 64 * 1024;

pub(super) struct Connection {
    socket: TcpStream,
    /// The bytes read that are not yet a whole line, or frame.
    rest: Vec<u8>,
    /// Whether it brings frames; `None`: it has brought nothing yet.
    framed: Option<bool>,
}

/// What a read found.
pub(super) enum State {
    Open,
    Drained,
    Closed,
}

impl Connection {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            rest: Vec::new(),
            framed: None,
        }
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The line or frame that is not ended yet.
    pub(super) fn rest(&self) -> &[u8] {
        &self.rest
    }

    /// Reads once and enters what came; also tells how many bytes that were.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        clock: &Clock,
        books: &Books,
    ) -> (State, usize) {
        let bytes = match recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => return (State::Closed, 0),
            Ok((bytes, _)) => bytes,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return (State::Drained, 0),
            Err(_) => return (State::Closed, 0),
        };
        let mut account = books.lock();
        account.read(bytes);
        self.enter(&buffer[..bytes], clock.micros(), &mut account);
        drop(account);
        books.changed.notify_all();
        (State::Open, bytes)
    }

    /// Enters all that was acknowledged; when it is dropped then, the other end gets a reset.
    pub(super) fn abort(
        &mut self,
        buffer: &mut [u8],
        clock: &Clock,
        books: &Books,
    ) -> io::Result<()> {
        deafen(&self.socket)?;
        // Segments that came while a read held the socket are only queued when that read returns, so the
        // queue is empty only once it was found empty twice.
        let mut empty = 0;
        while empty < 2 {
            match self.read(buffer, clock, books).0 {
                State::Open => empty = 0,
                State::Drained => empty += 1,
                State::Closed => break,
            }
        }
        sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO))?;
        Ok(())
    }

    fn enter(&mut self, mut bytes: &[u8], now: u64, account: &mut Account) {
        // No frame is so long that its length has a first byte, and no line begins with a zero.
        if *self.framed.get_or_insert(bytes[0] == 0) {
            return frames::enter(&mut self.rest, bytes, now, account);
        }
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            if self.rest.is_empty() {
                account.line(&bytes[..end], now);
            } else {
                self.rest.extend_from_slice(&bytes[..end]);
                account.line(&self.rest, now);
                self.rest.clear();
            }
            bytes = &bytes[end + 1..];
        }
        self.rest.extend_from_slice(bytes);
        if self.rest.len() > LONGEST {
            account.tear(&self.rest);
            self.rest.clear();
        }
    }
}

/// Makes the kernel drop every further segment unseen.
///
/// Without it a reset would race with the sender: what arrives between the last read and the close is
/// acknowledged and then thrown away, and a relay that believes acknowledgements could not but lose it. And
/// against a fast sender, reading on until there is nothing left can take for ever.
pub(super) fn deafen(socket: &impl AsFd) -> io::Result<()> {
    const DROP: libc::sock_filter = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let mut program = [DROP];
    let program = libc::sock_fprog {
        len: 1,
        filter: program.as_mut_ptr(),
    };
    nix::sys::socket::setsockopt(socket, AttachFilter, &program)?;
    Ok(())
}

// The call that the compiler cannot check is nix's; a `sock_fprog` is the type the kernel wants here.
sockopt_impl!(
    /// A classic BPF program that decides which segments a socket sees (socket(7), `SO_ATTACH_FILTER`).
    AttachFilter,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_ATTACH_FILTER,
    libc::sock_fprog
);
